"""Very deep convolutional networks for large-scale image recognition (Simonyan, Zisserman 2014), arXiv 1409.1556.

Nothing but 3x3 convolutions: two of them see 5x5, three see 7x7, with fewer weights and more ReLUs than one large
kernel. ImageNet validation top-1 / top-5 errors in the paper's Table 3 (one test scale, dense evaluation): VGG-11 (A)
29.6 / 10.4, VGG-13 (B) 28.7 / 9.9, VGG-16 (D) 25.6 / 8.1, VGG-19 (E) 25.5 / 8.0; 133, 133, 138 and 144 million
parameters (Table 2).

Batch normalisation came later: `batch_norm`, in torchvision's form, which keeps the biases of the convolutions.
SE-VGG-16 (arXiv 1709.01507, Table 2: 25.22 / 7.70) has a Squeeze-and-Excitation after every ReLU: `se`.
Initialisation as torchvision's released weights: the paper's, normal of deviation 0.01, trains VGG-11 only, and the
paper starts the deeper networks from a trained VGG-11.
"""

from collections.abc import Sequence

from torch import nn

from lineage.archs.arguments import Channels, Classes, Count, Rate
from lineage.archs.blocks import HeConv2d, SqueezeExcite, classifier
from lineage.archs.network import Network, Stage


def stage(in_channels: int, width: int, depth: int, batch_norm: bool, se: bool) -> nn.Sequential:
    """`depth` times 3x3, (BN,) ReLU(, gates), then 2x2 pooling: (B, in, H, W) -> (B, width, H/2, W/2)."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers.append(HeConv2d(width if i else in_channels, width, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
        if se:
            layers.append(SqueezeExcite(width, width // 16))
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class VGG(Network):
    """Stages of 3x3 convolutions (the first one is the stem), two dense layers of 4096, linear.

    Args:
        depths, widths: convolutions of each stage and their maps; each stage ends in 2x2 pooling.
        batch_norm: batch normalisation after every convolution.
        se: Squeeze-and-Excitation after every ReLU of a convolution.
        dropout: probability after both dense layers (0.5 in the paper).
    """

    classifiers = ("head.8",)

    def __init__(
        self, depths: Sequence[Count], widths: Sequence[Count] = (64, 128, 256, 512, 512),
        num_classes: Classes = 1000, in_channels: Channels = 3, batch_norm: bool = False, se: bool = False,
        dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.min_size = 2 ** len(depths)  # 32: five poolings
        rows = zip((in_channels, *widths[:-1]), widths, depths, strict=True)
        self.stem, *stages = (stage(channels, width, depth, batch_norm, se) for channels, width, depth in rows)
        self.stages = Stage(*stages)
        self.last = nn.Identity()
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(7),  # the identity at 224 pixels
            nn.Flatten(1),
            nn.Linear(widths[-1] * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
            classifier(4096, num_classes),
        )  # fmt: skip
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
