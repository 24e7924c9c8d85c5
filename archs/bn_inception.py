"""Batch normalization (Ioffe, Szegedy 2015), arXiv 1502.03167: BN-Inception, also called Inception v2 by some.

GoogLeNet with batch normalisation after every convolution and two 3x3 in place of each 5x5 (appendix, Figure 5). It
needs neither dropout nor local response normalisation, and reaches GoogLeNet's accuracy in a fourteenth of the steps.
ImageNet errors of one network, single crop: 25.2 top-1, 7.82 top-5.

Figure 5 prints 576, 576 and 1024 channels for 4c, 4d and 4e, whose branches sum to 608, 608 and 1056, and 28x28 for 3c,
which is 14x14. No public network has the paper's 13.6 M parameters: this one has 11.3 M, as the released
Caffe model has, 10,016 of them convolution biases that batch normalisation cancels. Its 2.03 billion operations agree.
SE-BN-Inception (arXiv 1709.01507, Table 2: 24.23 top-1, 7.14 top-5) gates the output of each module: `se`.
Initial weights: He et al. (the paper gives none).
"""

import torch
from torch import nn

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ConvNormAct
from lineage.archs.branches import Inception, Table
from lineage.archs.googlenet import STEMS as GOOGLENET_STEMS

# GoogLeNet's without response normalisation: (192, 28, 28).
STEMS = {kind: [layer for layer in layers if layer != "lrn"] for kind, layers in GOOGLENET_STEMS.items()}


def inception(one: int, reduce: int, three: int, reduce_double: int, double: int, pool: str, proj: int) -> Table:
    """A row of Figure 5; without 1x1 and projection a module has stride 2."""
    if not one:
        return [
            [f"1x1 {reduce}", f"3x3 {three} /2"],
            [f"1x1 {reduce_double}", f"3x3 {double}", f"3x3 {double} /2"],
            [f"{pool} /2"],
        ]
    return [
        [f"1x1 {one}"],
        [f"1x1 {reduce}", f"3x3 {three}"],
        [f"1x1 {reduce_double}", f"3x3 {double}", f"3x3 {double}"],
        [pool, f"1x1 {proj}"],
    ]


# Figure 5, grouped by resolution: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool, proj.
STAGES = [
    {
        "3a": inception(64, 64, 64, 64, 96, "avg", 32),  # (256, 28, 28)
        "3b": inception(64, 64, 96, 64, 96, "avg", 64),  # (320, 28, 28)
    },
    {
        "3c": inception(0, 128, 160, 64, 96, "max", 0),  # (576, 14, 14)
        "4a": inception(224, 64, 96, 96, 128, "avg", 128),  # (576, 14, 14)
        "4b": inception(192, 96, 128, 96, 128, "avg", 128),  # (576, 14, 14)
        "4c": inception(160, 128, 160, 128, 160, "avg", 128),  # (608, 14, 14)
        "4d": inception(96, 128, 192, 160, 192, "avg", 128),  # (608, 14, 14)
    },
    {
        "4e": inception(0, 128, 192, 192, 256, "max", 0),  # (1056, 7, 7)
        "5a": inception(352, 192, 320, 160, 224, "avg", 128),  # (1024, 7, 7)
        "5b": inception(352, 192, 320, 192, 224, "max", 128),  # (1024, 7, 7)
    },
]


class BiasedConvNormAct(ConvNormAct):
    """ConvNormAct with the bias that the released model keeps in front of batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, *options) -> None:
        super().__init__(in_channels, out_channels, *options)
        self.conv.bias = nn.Parameter(torch.zeros(out_channels))


class BNInception(Inception):
    """Stem, ten Inception modules in three stages, average pooling, linear.

    Args:
        se: Squeeze-and-Excitation on the output of each module.
    """

    def __init__(
        self,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", se: bool = False,
        dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        stages = [{name: (module, "se") if se else module for name, module in stage.items()} for stage in STAGES]
        super().__init__(STEMS[stem], stages, BiasedConvNormAct, num_classes, in_channels, dropout)
        # The last stride needs two pixels: 23 -> 12 -> 6 -> 3 -> 2 -> 1, or 3 -> 2 -> 1.
        self.min_size = {"imagenet": 23, "cifar": 3}[stem]
