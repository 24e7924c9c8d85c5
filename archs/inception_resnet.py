"""Inception-v4, Inception-ResNet (Szegedy, Ioffe, Vanhoucke, Alemi 2016), arXiv 1602.07261: Inception-ResNet v1 and v2.

Inception modules as residual branches, y = relu(x + scale f(x)); scaling them down keeps wide networks stable. ImageNet
errors in Table 2, single crop, single model: v1 21.3 top-1, 5.5 top-5 (the cost of v3); v2 19.9, 4.9 (that of v4).

There are two networks called v2. `variant="paper"` is that of the figures: the stem of Figure 3, 5 A, 10 B, 5 C, 32.4 M
parameters. `variant="released"` is that of the weights (TF-slim, timm): the stem of Inception v3 and one
Inception module, 10, 20 and 10 blocks, the last without ReLU and unscaled, a 1x1 to 1536 channels, 55.8 M parameters.
Figures 17 and 19 print 1154 and 2048 channels where the concatenations before them give 1152 and 2144.
The paper scales by 0.1 to 0.3 without saying where; here it is 0.17, 0.10, 0.20 in A, B, C, as released, everywhere.
SE-Inception-ResNet-v2 (arXiv 1709.01507, Table 2: 19.80 top-1, 4.79 top-5) gates each residual branch: `se`.
Initial weights as in the release: uniform of Glorot and Bengio; epsilon 0.001.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lineage.archs.arguments import Channels, Classes, Positive, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvNormAct, DropPath, SqueezeExcite, drop_path_rates, init_layer
from lineage.archs.branches import Branches, Chain, Table
from lineage.archs.inception_v3 import MIN_SIZES
from lineage.archs.inception_v3 import STEMS as V3_STEMS
from lineage.archs.inception_v4 import STEMS as V4_STEMS
from lineage.archs.inception_v4 import reduction_a
from lineage.archs.network import Network, Stage


@dataclass(frozen=True)
class Plan:
    """A network as data: the blocks A, B, C of the three stages, and the reduction before each, if any."""

    stem: dict[str, list]  # for large and for small images
    blocks: tuple[Table, Table, Table]
    reductions: tuple[Table, Table, Table]
    depths: tuple[int, int, int] = (5, 10, 5)
    last_linear: bool = False  # the last block has no ReLU and scale 1
    features: int | None = None  # channels of a last 1x1 convolution


def reduction_b(third: int, last: int) -> Table:
    """Figures 12 and 18: to 384 + third + last + what it reads."""
    return [
        ["1x1 256", "3x3 384 /2 V"],
        ["1x1 256", f"3x3 {third} /2 V"],
        ["1x1 256", f"3x3 {third}", f"3x3 {last} /2 V"],
        ["max /2 V"],
    ]


V1 = Plan(
    stem={"imagenet": [*V3_STEMS["imagenet"][:-1], "3x3 256 /2 V"], "cifar": ["3x3 256"]},  # Figure 14: (256, 35, 35)
    blocks=(
        [["1x1 32"], ["1x1 32", "3x3 32"], ["1x1 32", "3x3 32", "3x3 32"]],  # Figure 10: (256, 35, 35)
        [["1x1 128"], ["1x1 128", "1x7 128", "7x1 128"]],  # Figure 11: (896, 17, 17)
        [["1x1 192"], ["1x1 192", "1x3 192", "3x1 192"]],  # Figure 13: (1792, 8, 8)
    ),
    reductions=(
        [],
        reduction_a(192, 192, 256, 384),  # 384 + 256 + 256 = 896
        reduction_b(256, 256),  # 384 + 256 + 256 + 896 = 1792
    ),
)

V2_PAPER = Plan(
    stem=V4_STEMS,  # Figure 3, as Inception v4: (384, 35, 35)
    blocks=(
        [["1x1 32"], ["1x1 32", "3x3 32"], ["1x1 32", "3x3 48", "3x3 64"]],  # Figure 16: (384, 35, 35)
        [["1x1 192"], ["1x1 128", "1x7 160", "7x1 192"]],  # Figure 17: (1152, 17, 17)
        [["1x1 192"], ["1x1 192", "1x3 224", "3x1 256"]],  # Figure 19: (2144, 8, 8)
    ),
    reductions=(
        [],
        reduction_a(256, 256, 384, 384),  # 384 + 384 + 384 = 1152
        reduction_b(288, 320),  # 384 + 288 + 320 + 1152 = 2144
    ),
)

V2_RELEASED = Plan(
    stem={
        "imagenet": [
            *V3_STEMS["imagenet"],  # (192, 35, 35)
            [["1x1 96"], ["1x1 48", "5x5 64"], ["1x1 64", "3x3 96", "3x3 96"], ["mean", "1x1 64"]],  # (320, 35, 35)
        ],
        "cifar": ["3x3 320"],
    },
    blocks=V2_PAPER.blocks,  # (320, 35, 35), (1088, 17, 17), (2080, 8, 8)
    reductions=V2_PAPER.reductions,
    depths=(10, 20, 10),
    last_linear=True,
    features=1536,
)
PLANS = {"v1": V1, "paper": V2_PAPER, "released": V2_RELEASED}


class InceptionResBlock(nn.Module):
    """relu(x + scale f(x)), f: branches, then a 1x1 with bias and without normalisation to x's channels; shape kept."""

    def __init__(
        self, channels: int, table: Table, conv: Callable[..., nn.Module], scale: float, drop_path: float, se: bool
    ) -> None:
        super().__init__()
        self.scale = scale
        self.branches = Branches(channels, table, conv)
        self.project = nn.Conv2d(self.branches.out_channels, channels, 1)
        self.se = SqueezeExcite(channels, channels // 16) if se else nn.Identity()
        self.drop_path = DropPath(drop_path)
        self.act: nn.Module = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.drop_path(self.se(self.project(self.branches(x))))
        return self.act(torch.add(x, residual, alpha=self.scale))


class InceptionResNet(Network):
    """Stem, three stages of residual Inception blocks with reductions between, average pooling, linear.

    Args:
        variant: Inception-ResNet v1, or v2 as in the paper's figures or as released.
        scale: of the residual branches in A, B, C.
        se: Squeeze-and-Excitation at the end of each residual branch.
    """

    def __init__(
        self, variant: Literal["v1", "paper", "released"] = "v1",
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        scale: Sequence[Positive] = (0.17, 0.10, 0.20), se: bool = False, drop_path: Rate = 0.0, dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        plan, conv = PLANS[variant], partial(ConvNormAct, eps=0.001)
        self.min_size = MIN_SIZES[stem]
        self.stem = Chain(in_channels, plan.stem[stem], conv)
        channels = self.stem.out_channels

        rates = iter(drop_path_rates(drop_path, sum(plan.depths)))
        self.stages = nn.Sequential()
        for reduction, table, depth, factor in zip(plan.reductions, plan.blocks, plan.depths, scale, strict=True):
            stage = Stage()
            if reduction:
                halved = Branches(channels, reduction, conv)
                stage.append(halved)
                channels = halved.out_channels
            blocks = [InceptionResBlock(channels, table, conv, factor, next(rates), se) for _ in range(depth)]
            self.stages.append(stage.extend(blocks))
        if plan.last_linear:
            blocks[-1].scale, blocks[-1].act = 1.0, nn.Identity()
        if plan.features is not None:
            stage.append(conv(channels, plan.features, 1))
            channels = plan.features
        self.last = nn.Identity()
        self.head = ClassifierHead(channels, num_classes, dropout)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        init_layer(module, nn.init.xavier_uniform_)
