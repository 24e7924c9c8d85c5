"""Rethinking the Inception architecture (Szegedy et al. 2015), arXiv 1512.00567: Inception v3.

What Inception v2 (archs/inception_v2.py) becomes by the rows of Table 3: RMSProp, label smoothing, factorised 7x7,
batch normalisation in the auxiliary head. ImageNet errors there, single crop at 299: 21.2 top-1, 5.6 top-5.

This is the network of Google's release, as in torchvision and timm, not that of Table 1: its stem has 1x1, 3x3 and a
second pooling in place of the last three 3x3, its 35x35 modules a 5x5. The paper prints "less than 25 million"
parameters and 4.8 billion operations; it has 23.8 M (27.2 M with the auxiliary head) and 5.7 billion. That head reads
the last 17x17 map, and its loss weighs 0.4.
Initial weights as released: normal, truncated at two deviations, of 0.1 in convolutions (0.01 in the auxiliary 5x5),
0.01 in the classifier (0.001 in the auxiliary one).
"""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvNormAct, init_layer, truncated_normal_
from lineage.archs.branches import Inception, Table

STEMS: dict[str, list] = {
    "imagenet": [
        "3x3 32 /2 V",  # (32, 149, 149)
        "3x3 32 V",  # (32, 147, 147)
        "3x3 64",
        "max /2 V",  # (64, 73, 73)
        "1x1 80",
        "3x3 192 V",  # (192, 71, 71)
        "max /2 V",  # (192, 35, 35)
    ],
    "cifar": ["3x3 192"],
}
# The last 3x3/2 needs three pixels: 75 -> 37 -> 35 -> 17 -> 15 -> 7 -> 3 -> 1, or 7 -> 3 -> 1.
MIN_SIZES = {"imagenet": 75, "cifar": 7}


def figure_5(pool: int) -> Table:
    """As released: 5x5 in the middle, where Figure 5 has 3x3."""
    return [
        ["1x1 64"],
        ["1x1 48", "5x5 64"],
        ["1x1 64", "3x3 96", "3x3 96"],
        ["avg", f"1x1 {pool}"],
    ]  # 64 + 64 + 96 + pool


def figure_6(c: int) -> Table:
    return [
        ["1x1 192"],
        [f"1x1 {c}", f"1x7 {c}", "7x1 192"],
        [f"1x1 {c}", f"7x1 {c}", f"1x7 {c}", f"7x1 {c}", "1x7 192"],
        ["avg", "1x1 192"],
    ]  # 4 * 192 = 768


FIGURE_7 = [
    ["1x1 320"],
    ["1x1 384", [["1x3 384"], ["3x1 384"]]],
    ["1x1 448", "3x3 384", [["1x3 384"], ["3x1 384"]]],
    ["avg", "1x1 192"],
]  # 320 + 768 + 768 + 192 = 2048

FIGURE_10_TO_17 = [
    ["3x3 384 /2 V"],
    ["1x1 64", "3x3 96", "3x3 96 /2 V"],
    ["max /2 V"],
]  # 384 + 96 + 288 = 768

FIGURE_10_TO_8 = [
    ["1x1 192", "3x3 320 /2 V"],
    ["1x1 192", "1x7 192", "7x1 192", "3x3 192 /2 V"],
    ["max /2 V"],
]  # 320 + 192 + 768 = 1280

STAGES: list[list] = [
    list(map(figure_5, (32, 64, 64))),  # (256, 35, 35), then (288, 35, 35)
    [FIGURE_10_TO_17, *map(figure_6, (128, 160, 160, 192))],  # (768, 17, 17)
    [FIGURE_10_TO_8, *[FIGURE_7] * 2],  # (2048, 8, 8)
]


class AuxHead(nn.Module):
    """Auxiliary classifier: (B, 768, 17, 17) -> (B, 128, 5, 5) -> (B, 768, 1, 1) -> (B, num_classes)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(768, 128, 1, eps=0.001)
        self.conv = ConvNormAct(128, 768, 5, padding=0, eps=0.001)
        self.head = ClassifierHead(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        # A map below 17x17 would leave the 5x5 convolution less than 5x5.
        x = F.avg_pool2d(x, 5, stride=3) if min(x.shape[2:]) >= 17 else F.adaptive_avg_pool2d(x, 5)
        return self.head(self.conv(self.reduce(x)))


class InceptionV3(Inception):
    """Stem, three stages of Inception modules, average pooling, linear.

    Args:
        aux_heads: a classifier on the second stage, in training only; its loss weighs 0.4.
    """

    def __init__(
        self,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", aux_heads: bool = False,
        dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        aux = AuxHead(num_classes) if aux_heads else None
        super().__init__(STEMS[stem], STAGES, partial(ConvNormAct, eps=0.001), num_classes, in_channels, dropout, aux)
        self.min_size = MIN_SIZES[stem]
        if aux_heads:
            self.aux_weights, self.classifiers = (0.4,), ("head.linear", "aux.head.linear")

    def initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            auxiliary = self.aux is not None and (module is self.aux.conv.conv or module.weight.shape[1:] == (768,))
            std = (0.1 if isinstance(module, nn.Conv2d) else 0.01) / (10 if auxiliary else 1)
            init_layer(module, partial(truncated_normal_, std=std))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        if not self.training or self.aux is None:
            return super().forward(images)
        first, second, third = self.stages
        x = second(first(self.stem(images)))  # (B, 768, 17, 17)
        aux_logits = [self.aux(x)]
        return self.head(third(x)), aux_logits
