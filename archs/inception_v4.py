"""Inception-v4, Inception-ResNet (Szegedy, Ioffe, Vanhoucke, Alemi 2016), arXiv 1602.07261: Inception v4.

Uniform modules, deeper and wider than v3's: a stem that forks three times, then 4 A, 7 B and 3 C modules with a
reduction between. ImageNet errors in Table 2, single crop, single model: 20.0 top-1, 5.0 top-5.

As in the release (TF-slim, and timm): average pooling does not count its padding, epsilon is 0.001, initial weights are
those of He et al. by fan-in.
"""

from functools import partial

from torch import nn

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ConvNormAct
from lineage.archs.branches import Inception, Table
from lineage.archs.inception_v3 import MIN_SIZES

STEMS: dict[str, list] = {
    "imagenet": [  # Figure 3
        "3x3 32 /2 V",  # (32, 149, 149)
        "3x3 32 V",  # (32, 147, 147)
        "3x3 64",
        [["max /2 V"], ["3x3 96 /2 V"]],  # (160, 73, 73)
        [["1x1 64", "3x3 96 V"], ["1x1 64", "1x7 64", "7x1 64", "3x3 96 V"]],  # (192, 71, 71)
        [["3x3 192 /2 V"], ["max /2 V"]],  # (384, 35, 35)
    ],
    "cifar": ["3x3 384"],
}

A = [  # Figure 4
    ["1x1 96"],
    ["1x1 64", "3x3 96"],
    ["1x1 64", "3x3 96", "3x3 96"],
    ["mean", "1x1 96"],
]  # 4 * 96 = 384

B = [  # Figure 5
    ["1x1 384"],
    ["1x1 192", "1x7 224", "7x1 256"],
    ["1x1 192", "7x1 192", "1x7 224", "7x1 224", "1x7 256"],
    ["mean", "1x1 128"],
]  # 384 + 256 + 256 + 128 = 1024

C = [  # Figure 6
    ["1x1 256"],
    ["1x1 384", [["1x3 256"], ["3x1 256"]]],
    ["1x1 384", "3x1 448", "1x3 512", [["1x3 256"], ["3x1 256"]]],
    ["mean", "1x1 256"],
]  # 6 * 256 = 1536


def reduction_a(k: int, l: int, m: int, n: int) -> Table:  # noqa: E741  # as Table 1 calls them
    """Figure 7: to n + m + what it reads."""
    return [[f"3x3 {n} /2 V"], [f"1x1 {k}", f"3x3 {l}", f"3x3 {m} /2 V"], ["max /2 V"]]


REDUCTION_B = [  # Figure 8
    ["1x1 192", "3x3 192 /2 V"],
    ["1x1 256", "1x7 256", "7x1 320", "3x3 320 /2 V"],
    ["max /2 V"],
]  # 192 + 320 + 1024 = 1536

STAGES: list[list] = [
    [A] * 4,  # (384, 35, 35)
    [reduction_a(192, 224, 256, 384), *[B] * 7],  # 384 + 256 + 384: (1024, 17, 17)
    [REDUCTION_B, *[C] * 3],  # (1536, 8, 8)
]


class InceptionV4(Inception):
    """Stem, three stages of Inception modules, average pooling, linear."""

    def __init__(
        self,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(STEMS[stem], STAGES, partial(ConvNormAct, eps=0.001), num_classes, in_channels, dropout)
        self.min_size = MIN_SIZES[stem]

    def initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
