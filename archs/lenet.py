"""Gradient-based learning applied to document recognition (LeCun, Bottou, Bengio, Haffner 1998), Proc. IEEE 86(11).

LeNet-5 is the first convolutional network in wide use: two convolutions with subsampling, a convolution that sees the
whole 5x5 map, two dense layers. `variant="1998"` is the paper's, 60,000 trainable parameters and 340,908 connections
(section II-B), 0.95 % test error on MNIST; `variant="modern"` is the one met everywhere, 61,706 parameters: full C3,
max pooling, ReLU, a linear output.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archs.blocks import Channels, Classes, choose

# Table I of the paper: the S2 maps that each of the 16 C3 maps is connected to.
C3_INPUTS = [
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
]  # fmt: skip

# The targets of the ten output units: digits drawn on 7x12 pixels, as in Figure 3. The figure is redrawn by hand here;
# the paper prints no table of it.
BITMAPS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...#...  ..###..  .#####.  ....##.  .######  ...###.  .######  ..###..  ..###..
.##.##.  ..##...  .##.##.  .....#.  ...###.  .##....  ..##...  .....##  .##.##.  .##.##.
##...##  .###...  ##...##  ....##.  ..#.##.  .##....  .##....  .....##  ##...##  ##...##
##...##  ...#...  .....##  ...##..  ..#.##.  .#####.  ##.....  ....##.  ##...##  ##...##
##...##  ...#...  ....##.  ..####.  .##.##.  ....##.  ##.###.  ....##.  .#####.  ##...##
##...##  ...#...  ...##..  .....##  .#..##.  .....##  ###..##  ...##..  .#####.  .######
##...##  ...#...  ..##...  .....##  #######  .....##  ##...##  ...##..  ##...##  .....##
##...##  ...#...  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ...#...  ##.....  ##..##.  ....##.  ##..##.  .##.##.  ..##...  .##.##.  ....##.
..###..  .#####.  #######  .####..  ....##.  .####..  ..###..  ..##...  ..###..  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def prototypes(num_classes: int) -> Tensor:
    """The fixed +1 / -1 codes of the output units, (num_classes, 84); past the ten digits, random codes."""
    rows = [line.split() for line in BITMAPS.split("\n") if line]
    digits = [[1.0 if pixel == "#" else -1.0 for row in rows for pixel in row[digit]] for digit in range(10)]
    more = torch.randint(0, 2, (max(num_classes - 10, 0), 84), generator=torch.Generator().manual_seed(1998))
    return torch.cat((torch.tensor(digits), more.float() * 2 - 1))[:num_classes]


class ScaledTanh(nn.Module):
    """A tanh(S a), A = 1.7159, S = 2/3 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)


class Subsample(nn.Module):
    """Sum over 2x2, times a trained coefficient, plus a trained bias, per map: (B, C, H, W) -> (B, C, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) * 4 * self.coefficient + self.bias


class PartialConv(nn.Module):
    """C3: 5x5 kernels over the links of Table I only, 60 x 25 + 16 = 1,516 parameters: (B, 6, H, W) -> (B, 16, ...)."""

    links: Tensor

    def __init__(self) -> None:
        super().__init__()
        links = [out * 6 + source for out, sources in enumerate(C3_INPUTS) for source in sources]
        self.register_buffer("links", torch.tensor(links), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(links), 25))
        self.bias = nn.Parameter(torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(16 * 6, 25).index_copy(0, self.links, self.weight)
        return F.conv2d(x, dense.view(16, 6, 5, 5).to(x.dtype), self.bias.to(x.dtype))


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's fixed code: (B, 84) -> (B, num_classes); the largest wins."""

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", prototypes(num_classes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.codes).square().sum(dim=2)


class LeNet5(nn.Module):
    """LeNet-5 on 32x32 images (28x28 digits centred); a larger image gives several C5 columns, which are averaged.

    Args:
        variant: "modern" or "1998".
    """

    min_size = 32

    def __init__(
        self, variant: Literal["modern", "1998"] = "modern", num_classes: Classes = 10, in_channels: Channels = 1
    ) -> None:
        super().__init__()
        paper = choose("variant", str(variant), ("modern", "1998")) == "1998"
        act = ScaledTanh if paper else nn.ReLU
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5),  # C1: (6, 28, 28)
            *((Subsample(6), act()) if paper else (act(), nn.MaxPool2d(2))),  # S2: (6, 14, 14)
        )
        self.stages = nn.Sequential(
            PartialConv() if paper else nn.Conv2d(6, 16, 5),  # C3: (16, 10, 10)
            *((Subsample(16), act()) if paper else (act(), nn.MaxPool2d(2))),  # S4: (16, 5, 5)
            nn.Conv2d(16, 120, 5),  # C5: (120, 1, 1)
            act(),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Linear(120, 84),  # F6
            act(),
            RadialBasis(num_classes) if paper else nn.Linear(84, num_classes),
        )
        if paper:
            self.init_1998()

    def init_1998(self) -> None:
        """Uniform in +-2.4 / fan-in (appendix A)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = 2.4 / module.weight[0].numel()
                nn.init.uniform_(module.weight, -bound, bound)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, PartialConv):
                fan_in = torch.tensor([25 * len(sources) for sources in C3_INPUTS for _ in sources])
                bounds = (2.4 / fan_in).unsqueeze(1)
                with torch.no_grad():
                    module.weight.uniform_(-1, 1).mul_(bounds)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.stages(self.stem(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.forward_features(images))


def connections() -> int:
    """The paper's count of connections at 32x32, biases included, RBF units too: 340,908."""
    c1 = 6 * 28 * 28 * (25 + 1)  # 122,304
    s2 = 6 * 14 * 14 * (4 + 1)  # 5,880
    c3 = 10 * 10 * (sum(map(len, C3_INPUTS)) * 25 + 16)  # 151,600
    s4 = 16 * 5 * 5 * (4 + 1)  # 2,000
    c5 = 120 * (16 * 25 + 1)  # 48,120
    f6 = 84 * (120 + 1)  # 10,164
    return c1 + s2 + c3 + s4 + c5 + f6 + 84 * 10
