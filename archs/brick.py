"""The bricks of networks side by side, each between a 1x1 convolution and a classifier, at one width.

`lineage describe arch=brick arch.kind=inception,inception_naive module=stages resolution=28` counts what they cost. At
192 channels "inception" is GoogLeNet's 3a (Szegedy et al. 2014, arXiv 1409.4842, Table 1), and "inception_naive" the
same without 1x1 convolutions before the 3x3 and the 5x5 (Figure 2a). The steps from Inception to Xception are Figures
2, 3 and 4 of Chollet 2016, arXiv 1610.02357: equal towers of 1x1 and 3x3; one 1x1 and a grouped 3x3, which costs the
same; a 3x3 for each channel.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from torch import nn

from lineage.archs.arguments import Channels, Classes, Rate
from lineage.archs.blocks import ClassifierHead, ConvNormAct, DepthwiseSeparable, InvertedResidual
from lineage.archs.branches import Branches
from lineage.archs.network import Network, Stage
from lineage.archs.resnet import Bottleneck, Residual

Kind = Literal[
    "convolution", "separable", "5x5", "two_3x3", "bottleneck", "inverted_bottleneck", "inception", "inception_naive",
    "inception_simplified", "inception_reformulated", "inception_extreme",
]  # fmt: skip


def pointwise_first(width: int, groups: int) -> nn.Module:
    return nn.Sequential(ConvNormAct(width, width, 1), ConvNormAct(width, width, 3, groups=groups))


def inception(width: int, reduced: bool) -> nn.Module:
    """At 192: 1x1, 64; 3x3, 128; 5x5, 32; max pooling. `reduced`: after 1x1 of 96 and 16, and before one of 32."""
    small, medium, large = f"1x1 {width // 3}", f"3x3 {2 * width // 3}", f"5x5 {width // 6}"
    if not reduced:
        return Branches(width, [[small], [medium], [large], ["max"]])
    first, second, last = (f"1x1 {width // part}" for part in (2, 12, 6))
    return Branches(width, [[small], [first, medium], [second, large], ["max", last]])


BRICKS: dict[str, Callable[[int], nn.Module]] = {
    "convolution": lambda width: ConvNormAct(width, width, 3),
    "separable": lambda width: DepthwiseSeparable(width, width),
    "5x5": lambda width: ConvNormAct(width, width, 5),
    "two_3x3": lambda width: nn.Sequential(ConvNormAct(width, width, 3), ConvNormAct(width, width, 3)),
    "bottleneck": lambda width: Bottleneck(width, width, 1, 0.0, Residual("B", 1, 64, False, False, False)),
    "inverted_bottleneck": lambda width: InvertedResidual(width, width, 1, 0.0, 6, ConvNormAct),
    "inception": lambda width: inception(width, reduced=True),
    "inception_naive": lambda width: inception(width, reduced=False),
    "inception_simplified": lambda width: Branches(width, [[f"1x1 {width // 3}", f"3x3 {width // 3}"]] * 3),
    "inception_reformulated": lambda width: pointwise_first(width, groups=3),
    "inception_extreme": lambda width: pointwise_first(width, groups=width),
}


class Brick(Network):
    """1x1 convolution, one brick, average pooling, linear.

    Args:
        kind: the brick; a bottleneck is a quarter as wide inside, an inverted one six times as wide.
        width: of its input, and of its output if it is no Inception module.
    """

    min_size = 1

    def __init__(
        self, kind: Kind = "inception", width: Annotated[int, "x >= 12 and x % 12 == 0"] = 192,
        num_classes: Classes = 1000, in_channels: Channels = 3, dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        brick = BRICKS[kind](width)
        self.stem = ConvNormAct(in_channels, width, 1)
        self.stages = nn.Sequential(Stage(brick))
        self.last = nn.Identity()
        self.head = ClassifierHead(getattr(brick, "out_channels", width), num_classes, dropout)
