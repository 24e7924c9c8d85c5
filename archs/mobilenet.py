"""MobileNet v1 (Howard et al. 2017), arXiv 1704.04861, and v2 (Sandler et al. 2018), arXiv 1801.04381.

v1 splits every convolution but the first in two, a 3x3 filter per channel and a 1x1 across channels, for an eighth of
the work. v2 turns the residual block inside out: shortcuts join its narrow ends, which stay linear, and the depthwise
filter works between them on six times the channels.

ImageNet top-1 accuracies in the papers: v1 at 224 pixels 70.6, at width 0.75 68.4, 0.5 63.7, 0.25 50.6 (Table 6), at
192 pixels 69.1, 160 67.2, 128 64.4 (Table 7), with full convolutions 71.7 (Table 4); v2 72.0, at width
1.4 74.7 (Table 4).

Initial weights as in the authors' release (TF-slim): normal, of deviation 0.09, truncated at twice that.
"""

from functools import partial
from typing import Any, Literal

from torch import nn

from lineage.archs.arguments import Channels, Classes, Momentum, Multiplier, Positive, Rate, Stem
from lineage.archs.blocks import (
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    drop_path_rates,
    init_layer,
    round_channels,
    truncated_normal_,
)
from lineage.archs.network import Network, Stage, stack
from lineage.archs.scaling import ALPHA, BETA, GAMMA, Phi, resolution_note, scale_depths, scale_widths, scaling_note


class MobileNet(Network):
    """Base of both: the smallest image and the initial weights."""

    min_size = 2  # on one pixel PyTorch's bf16 weight gradient of a strided 3x3 is wrong on CPUs

    def initialise(self, module: nn.Module) -> None:
        init_layer(module, partial(truncated_normal_, std=0.09))


# v1, Table 1: output channels, layers and stride of the first layer. The table prints stride 2 for the last layer too,
# but keeps it at 7x7: a misprint.
V1_STAGES = [
    (64, 1, 1),  # (112, 112)
    (128, 2, 2),  # (56, 56)
    (256, 2, 2),  # (28, 28)
    (512, 6, 2),  # (14, 14)
    (1024, 2, 2),  # (7, 7)
]


class MobileNetV1(MobileNet):
    """A full 3x3 convolution, 13 depthwise separable ones, average pooling, linear.

    Args:
        width_mult: called alpha in the paper: 1.0, 0.75, 0.5 or 0.25, which leave multiples of 8; others are rounded.
        resolution_mult: of the image's side, called rho in the paper: 1, 6/7, 5/7 or 4/7 (224, 192, 160, 128 pixels).
        alpha, beta, gamma, phi: compound scaling of depth, width and resolution (arXiv 1905.11946), on top of it.
        separable: false: full 3x3 convolutions instead, the "Conv MobileNet" of Table 4.
        act: "relu" as in the paper, "relu6" as in TF-slim's and timm's weights.
    """

    def __init__(
        self, width_mult: Multiplier = 1.0, resolution_mult: Multiplier = 1.0,
        alpha: Multiplier = ALPHA, beta: Multiplier = BETA, gamma: Multiplier = GAMMA, phi: Phi = 0.0,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", separable: bool = True,
        act: Literal["relu", "relu6"] = "relu", dropout: Rate = 0.0, norm_eps: Positive = 1e-3,
        norm_momentum: Momentum = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.notes = scaling_note(alpha, beta, gamma, phi) + resolution_note(resolution_mult)
        kind = {"relu": nn.ReLU, "relu6": nn.ReLU6}[act]
        stem_stride = 2 if stem == "imagenet" else 1
        conv = partial(ConvNormAct, act=kind, eps=norm_eps, momentum=norm_momentum)
        block: Any = partial(DepthwiseSeparable, act=kind, eps=norm_eps, momentum=norm_momentum)
        if not separable:
            block = partial(conv, kernel_size=3)
        unscaled, layers, strides = zip(*V1_STAGES, strict=True)
        channels, *widths = scale_widths((32, *unscaled), width_mult * beta**phi)
        depths = scale_depths(layers, alpha**phi)

        self.stem = conv(in_channels, channels, 3, stem_stride)
        self.stages = nn.Sequential()
        for width, depth, stride in zip(widths, depths, strides, strict=True):
            first = block(channels, width, stride=stride)
            self.stages.append(Stage(first, *(block(width, width) for _ in range(depth - 1))))
            channels = width
        self.last = nn.Identity()
        self.head = ClassifierHead(channels, num_classes, dropout)
        self.apply(self.initialise)


# v2, Table 2: expansion t, output channels c, layers n, stride s of the first layer.
V2_STAGES = [
    (1, 16, 1, 1),  # (112, 112)
    (6, 24, 2, 2),  # (56, 56)
    (6, 32, 3, 2),  # (28, 28)
    (6, 64, 4, 2),  # (14, 14)
    (6, 96, 3, 1),  # (14, 14)
    (6, 160, 3, 2),  # (7, 7)
    (6, 320, 1, 1),  # (7, 7)
]


class MobileNetV2(MobileNet):
    """A full 3x3 convolution, 17 inverted residuals, 1x1 to 1280 channels, average pooling, linear.

    Args:
        width_mult: of all channels, rounded to multiples of 8; the last 1280 only grow with it.
        resolution_mult: of the image's side, as in v1.
        alpha, beta, gamma, phi: compound scaling of depth, width and resolution (arXiv 1905.11946), on top of it.
    """

    def __init__(
        self, width_mult: Multiplier = 1.0, resolution_mult: Multiplier = 1.0,
        alpha: Multiplier = ALPHA, beta: Multiplier = BETA, gamma: Multiplier = GAMMA, phi: Phi = 0.0,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        drop_path: Rate = 0.0, dropout: Rate = 0.0, norm_eps: Positive = 1e-3, norm_momentum: Momentum = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.notes = scaling_note(alpha, beta, gamma, phi) + resolution_note(resolution_mult)
        conv = partial(ConvNormAct, act=nn.ReLU6, eps=norm_eps, momentum=norm_momentum)
        stem_stride = 2 if stem == "imagenet" else 1
        expansions, unscaled, layers, strides = zip(*V2_STAGES, strict=True)
        factor, depths = width_mult * beta**phi, scale_depths(layers, alpha**phi)
        channels = scale_widths((32, *unscaled), factor)
        last = round_channels(1280 * max(factor, 1.0))

        self.stem = conv(in_channels, channels[0], 3, stem_stride)
        blocks = [partial(InvertedResidual, expansion=expansion, conv=conv) for expansion in expansions]
        self.stages = stack(blocks, channels, depths, strides, drop_path_rates(drop_path, sum(depths)))
        self.last = conv(channels[-1], last, 1)
        self.head = ClassifierHead(last, num_classes, dropout)
        self.apply(self.initialise)
