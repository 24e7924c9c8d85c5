"""Aggregated residual transformations for deep neural networks (Xie, Girshick, Dollar, Tu, He 2016), arXiv 1611.05431.

The 3x3 convolution of a bottleneck splits into many narrow groups ("cardinality"): at equal cost more groups are better
than more width or depth. ImageNet top-1 errors in the paper's Table 3: ResNeXt-50 32x4d 22.2, ResNeXt-101 32x4d 21.2;
CIFAR-10 / CIFAR-100 errors in Table 7: ResNeXt-29 8x64d 3.65 / 17.77, 16x64d 3.58 / 17.31.

A ResNeXt is a ResNet (archs/resnet.py) with `groups` and `base_width`. That for CIFAR has the post-activated blocks of
the authors' released code; their README says that the paper's CIFAR numbers are of pre-activated ones, and that the
former are better.
"""

from lineage.archs.arguments import Channels, Classes, Count, Rate, ShortcutOrNone, Stem, checked
from lineage.archs.resnet import ResNet


@checked
def resnext29(
    cardinality: Count = 8, base_width: Count = 64,
    num_classes: Classes = 10, in_channels: Channels = 3, stem: Stem = "cifar", shortcut: ShortcutOrNone = "B",
    stride_in_1x1: bool = False, se: bool = False,
    drop_path: Rate = 0.0, dropout: Rate = 0.0, zero_init_last: bool = False,
) -> ResNet:  # fmt: skip
    """Three stages of three bottlenecks, 64 maps from the stem; `cardinality` groups of `base_width` at 64 channels."""
    return ResNet(
        "bottleneck", (3, 3, 3), (64, 128, 256), num_classes, in_channels, stem, shortcut, cardinality, base_width,
        stride_in_1x1, se, drop_path, dropout, zero_init_last,
    )  # fmt: skip
