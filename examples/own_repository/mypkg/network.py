"""A small convolutional network."""

from typing import Annotated

from torch import nn

from lineage.archs.blocks import ClassifierHead, ConvNormAct
from lineage.archs.network import Network, Stage


class Mine(Network):
    """A stem and stages of two 3x3 convolutions, each with twice the channels at half the resolution.

    Args:
        width: channels of the first stage.
        depth: stages.
    """

    def __init__(
        self,
        width: Annotated[int, "1 <= x <= 1024"],
        depth: Annotated[int, "1 <= x <= 5"],
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: Annotated[float, "0 <= x < 1"] = 0.0,
    ) -> None:
        super().__init__()
        self.min_size = 2**depth
        widths = [width * 2**stage for stage in range(depth)]
        self.stem = ConvNormAct(in_channels, width)
        self.stages = nn.Sequential(
            *(
                Stage(ConvNormAct(before, after, stride=2), ConvNormAct(after, after))
                for before, after in zip([width, *widths], widths, strict=False)
            )
        )
        self.last = nn.Identity()
        self.head = ClassifierHead(widths[-1], num_classes, dropout)
