"""Gradient-based learning applied to document recognition (LeCun, Bottou, Bengio, Haffner 1998), Proc. IEEE 86(11).

LeNet-5 is the first convolutional network in wide use: two convolutions with subsampling, a convolution that sees the
whole 5x5 map, two dense layers. `variant="1998"` is the paper's, 60,000 trainable parameters and 340,908 connections
(section II-B), 0.95 % test error on MNIST; `variant="modern"` is the common one, 61,706 parameters: full C3,
max pooling, ReLU, a linear output.

Squashing: a convolution is "followed by an additive bias and squashing function" (section II-A), a subsampling passes
through a sigmoidal function, and units in layers up to F6 squash their weighted sum (section II-B). So C1, S2, C3, S4,
C5 and F6 all do. The descriptions of C1 and C3 alone do not repeat it, and many ports leave it out there:
`squash_convolutions=False`.
Initial weights of 1998: uniform in +-2.4 / fan-in (appendix A), where the connections that share a weight belong to
units of one fan-in: 25 inputs in C1, 25 for each map of Table I in C3, and 4 in S2 and S4, whose coefficients are so
uniform in +-0.6. The appendix speaks of weights; biases start at zero.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import ArchitectureError, Channels, Classes
from lineage.archs.blocks import NoClassifier, classifier, init_layer
from lineage.archs.network import Network, Stage

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
        self.coefficient = nn.Parameter(torch.empty(channels, 1, 1).uniform_(-2.4 / 4, 2.4 / 4))  # of four inputs
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
        fan_in = torch.tensor([25.0 * len(sources) for sources in C3_INPUTS for _ in sources])
        self.weight = nn.Parameter(torch.empty(len(links), 25).uniform_(-2.4, 2.4) / fan_in[:, None])
        self.bias = nn.Parameter(torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(16 * 6, 25).index_copy(0, self.links, self.weight)
        return F.conv2d(x, dense.view(16, 6, 5, 5).to(x.dtype), self.bias.to(x.dtype))


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's fixed code: (B, 84) -> (B, num_classes); the largest wins."""

    codes: Tensor
    in_features = 84

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", prototypes(num_classes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.codes).square().sum(dim=2)


class LeNet5(Network):
    """LeNet-5 on 32x32 images (28x28 digits centred); a larger image gives several C5 columns, which are averaged.

    Args:
        squash_convolutions: in 1998, squash after C1 and C3 too; without, each is linear up to its subsampling.

    Raises:
        ArchitectureError: `squash_convolutions` is false, and the variant is not 1998.
    """

    min_size = 32
    classifiers = ("head.4",)

    def __init__(
        self, variant: Literal["modern", "1998"] = "modern",
        num_classes: Classes = 10, in_channels: Channels = 1, squash_convolutions: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.paper = str(variant) == "1998"
        self.logits_are_distances = self.paper
        if not (self.paper or squash_convolutions):
            raise ArchitectureError("arch.squash_convolutions=false: only arch.variant=1998 squashes.")
        act = ScaledTanh if self.paper else nn.ReLU
        c3 = PartialConv() if self.paper else nn.Conv2d(6, 16, 5)
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 6, 5), *self.subsampling(6, squash_convolutions))
        self.stages = Stage(
            nn.Sequential(c3, *self.subsampling(16, squash_convolutions)),  # C3: (16, 10, 10), S4: (16, 5, 5)
            nn.Sequential(nn.Conv2d(16, 120, 5), act()),  # C5: (120, 1, 1)
        )
        self.last = nn.Identity()
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Linear(120, 84),  # F6
            act(),
            self.make_classifier(84, num_classes),
        )
        self.apply(self.initialise)

    def subsampling(self, channels: int, squash: bool) -> list[nn.Module]:
        """What follows C1 and C3: (B, C, H, W) -> (B, C, H/2, W/2)."""
        if self.paper:
            return [*([ScaledTanh()] if squash else []), Subsample(channels), ScaledTanh()]
        return [nn.ReLU(), nn.MaxPool2d(2)]

    def make_classifier(self, in_features: int, num_classes: int) -> nn.Module:
        if not self.paper:
            return classifier(in_features, num_classes)
        return RadialBasis(num_classes) if num_classes else NoClassifier(in_features)

    def initialise(self, module: nn.Module) -> None:
        """1998: uniform in +-2.4 / fan-in; C3 and the subsamplings draw their own."""
        if self.paper and isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2.4 / module.weight[0].numel()
            init_layer(module, partial(nn.init.uniform_, a=-bound, b=bound))
