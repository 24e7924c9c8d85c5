"""EfficientNet: rethinking model scaling for convolutional neural networks (Tan, Le 2019), arXiv 1905.11946.

B0 is a searched network of inverted residuals with squeeze-and-excitation; the others scale its depth, width and
resolution together. ImageNet top-1 accuracies in the paper (Table 2): B0 77.1, B1 79.1, B2 80.1, B3 81.6, B4 82.9,
B5 83.6, B6 84.0, B7 84.3.

The paper gives a formula, 1.2^phi in depth, 1.1^phi in width, 1.15^phi in resolution (archs/scaling.py); the networks
released as B1 to B7 follow a table (PUBLISHED) that departs from it. The class takes both, the table's multipliers and
the formula's phi. B2 is the network of phi=1, at 260 pixels instead of 258; B1 that of phi=0.5 if only depth and
resolution grow (beta=1); the deeper ones are shallower than the formula at their width, B7 by 3.1 to 3.6.

Initial weights as in the authors' release: He normal by fan-out, uniform in the classifier. The release pads with
TensorFlow's SAME; here, as in torchvision and timm's networks without `tf_`, both sides are padded alike.
"""

import math
from functools import partial
from typing import Any

from torch import nn

from lineage.archs.arguments import Channels, Classes, Momentum, Multiplier, Positive, Rate, Stem
from lineage.archs.blocks import (
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    SqueezeExcite,
    drop_path_rates,
    init_layer,
)
from lineage.archs.network import Network, stack
from lineage.archs.scaling import ALPHA, BETA, GAMMA, Phi, scale_depths, scale_widths

# Table 1, stages 2 to 8: expansion of MBConv, kernel size, stride of the first layer, channels, layers.
B0_STAGES = [
    (1, 3, 1, 16, 1),  # (112, 112)
    (6, 3, 2, 24, 2),  # (56, 56)
    (6, 5, 2, 40, 2),  # (28, 28)
    (6, 3, 2, 80, 3),  # (14, 14)
    (6, 5, 1, 112, 3),  # (14, 14)
    (6, 5, 2, 192, 4),  # (7, 7)
    (6, 3, 1, 320, 1),  # (7, 7)
]

# The authors' release: width, depth, resolution.
PUBLISHED = {
    "efficientnet_b0": (1.0, 1.0, 224), "efficientnet_b1": (1.0, 1.1, 240), "efficientnet_b2": (1.1, 1.2, 260),
    "efficientnet_b3": (1.2, 1.4, 300), "efficientnet_b4": (1.4, 1.8, 380), "efficientnet_b5": (1.6, 2.2, 456),
    "efficientnet_b6": (1.8, 2.6, 528), "efficientnet_b7": (2.0, 3.1, 600),
}  # fmt: skip


class MBConv(InvertedResidual):
    """An inverted residual, gated after its depthwise filter from a quarter of the block's input channels."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, gate=partial(SqueezeExcite, act=nn.SiLU), **options)


class EfficientNet(Network):
    """3x3 stem, seven stages of MBConv, 1x1 to 1280 channels, average pooling, linear: B0, scaled.

    Args:
        width_mult, depth_mult: of channels (to multiples of 8) and of layers per stage (rounded up).
        alpha, beta, gamma, phi: compound scaling of depth, width and resolution, on top of them.
        drop_path: block i of n, from 0, is dropped with probability drop_path * i / n (0.2 in the release).
    """

    def __init__(
        self, width_mult: Multiplier = 1.0, depth_mult: Multiplier = 1.0,
        alpha: Multiplier = ALPHA, beta: Multiplier = BETA, gamma: Multiplier = GAMMA, phi: Phi = 0.0,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        drop_path: Rate = 0.0, dropout: Rate = 0.0, norm_eps: Positive = 1e-3, norm_momentum: Momentum = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        self.notes = [compare_published(alpha, beta, gamma, phi)] if phi else []
        conv = partial(ConvNormAct, act=nn.SiLU, eps=norm_eps, momentum=norm_momentum)
        stem_stride = 2 if stem == "imagenet" else 1
        # One pixel in the last two stages only, 17 -> 9 -> 5 -> 3 -> 2 -> 1: of one pixel and two images batch
        # normalisation makes +-1, and through the 55 blocks of B7 the gradients would overflow.
        self.min_size = 8 * stem_stride + 1
        expansions, kernel_sizes, strides, unscaled, layers = zip(*B0_STAGES, strict=True)
        depths = scale_depths(layers, depth_mult * alpha**phi)
        *channels, last = scale_widths((32, *unscaled, 1280), width_mult * beta**phi)

        self.stem = conv(in_channels, channels[0], 3, stem_stride)
        blocks = [
            partial(MBConv, expansion=expansion, conv=conv, kernel_size=kernel_size)
            for expansion, kernel_size in zip(expansions, kernel_sizes, strict=True)
        ]
        rates = drop_path_rates(drop_path, sum(depths) + 1)  # one more: the last block stays below drop_path
        self.stages = stack(blocks, channels, depths, strides, rates)
        self.last = conv(channels[-1], last, 1)
        self.head = ClassifierHead(last, num_classes, dropout)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Normal of variance 2 / fan_out, where a depthwise filter's fan-out is k * k; uniform in the classifier."""
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            init_layer(module, partial(nn.init.normal_, std=math.sqrt(2 / fan_out)))
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)
            init_layer(module, partial(nn.init.uniform_, a=-bound, b=bound))


def compare_published(alpha: float, beta: float, gamma: float, phi: float) -> str:
    """How far the formula at `phi` is from the nearest released network, as one sentence for the first lines of a run.

    Nearest by the sum of the squared logarithms of the three ratios: phi 0.5 is B1, 1 B2, 2 B3, 6.5 B7.
    """
    width, depth, resolution = beta**phi, alpha**phi, 224 * gamma**phi
    ratios = {name: (width / w, depth / d, resolution / r) for name, (w, d, r) in PUBLISHED.items()}
    name, nearest = min(ratios.items(), key=lambda item: sum(math.log(ratio) ** 2 for ratio in item[1]))
    differences = "width {:+.1%}, depth {:+.1%}, resolution {:+.1%}".format(*(ratio - 1 for ratio in nearest))
    formula = f"width {width:.3f}, depth {depth:.3f}, {resolution:.0f} pixels for 224"
    return f"phi={phi:g} is {formula}; from {name}, the nearest published network: {differences}."
