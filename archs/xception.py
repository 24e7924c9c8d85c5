"""Xception: deep learning with depthwise separable convolutions (Chollet 2016), arXiv 1610.02357.

Takes the Inception hypothesis to its limit: channels and space are mapped apart, by 34 depthwise separable
convolutions with nothing between their two halves, all but the last two in residual modules. ImageNet in the paper
(Table 1, 299 pixels, single crop): top-1 79.0, top-5 94.5; 22,855,952 parameters (Table 3).

Initial weights as in the released (Keras) network: Glorot uniform. Its pooling pads even maps on one side only
(TensorFlow's SAME); here, as in timm's port of its weights, on both.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from lineage.archs.arguments import Channels, Classes, Momentum, Positive, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvNormAct, DepthwiseSeparable, DropPath, drop_path_rates, init_layer
from lineage.archs.network import Network, Stage

Flow = list[tuple[tuple[int, ...], int]]

# Figure 5: the widths of a module's separable convolutions, the stride of its pooling and of its shortcut.
ENTRY: Flow = [
    ((128, 128), 2),  # (74, 74)
    ((256, 256), 2),  # (37, 37)
    ((728, 728), 2),  # (19, 19)
]
MIDDLE: Flow = [((728, 728, 728), 1)] * 8  # (19, 19)
EXIT: Flow = [((728, 1024), 2)]  # (10, 10)
LAST = (1536, 2048)  # separable convolutions after the modules, (10, 10)


class XceptionModule(nn.Module):
    """ReLU and separable 3x3, a few times, then pooling: (B, in, H, W) -> (B, widths[-1], H/stride, W/stride).

    Where shapes change, the shortcut is a 1x1 projection of the input before its ReLU. `norm` is the eps and momentum
    of batch normalisation; the first module has no first ReLU, since the stem ends with one.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], stride: int, drop_path: float, norm: dict[str, Any], first: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            if layers or not first:
                layers.append(nn.ReLU(inplace=bool(layers)))  # the shortcut needs the module's input as it is
            layers.append(DepthwiseSeparable(channels, width, inner=False, act=None, **norm))
            channels = width
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
            self.shortcut = ConvNormAct(in_channels, channels, 1, stride, act=None, **norm)
        self.layers = nn.Sequential(*layers)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop_path(self.layers(x)) + self.shortcut(x)


class Xception(Network):
    """Entry flow, eight middle modules, exit flow, average pooling, linear (Figure 5).

    Args:
        stem: two unpadded 3x3 convolutions; the first has stride 2 in "imagenet", 1 in "cifar".
    """

    def __init__(
        self,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        drop_path: Rate = 0.0, dropout: Rate = 0.0, norm_eps: Positive = 1e-3, norm_momentum: Momentum = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        norm: dict[str, Any] = {"eps": norm_eps, "momentum": norm_momentum}
        conv = partial(ConvNormAct, padding=0, eps=norm_eps, momentum=norm_momentum)
        stem_stride = 2 if stem == "imagenet" else 1
        self.min_size = 3 + 2 * stem_stride  # the second 3x3 needs three pixels: 7 -> 3 -> 1, or 5 -> 3 -> 1
        self.stem = nn.Sequential(
            conv(in_channels, 32, 3, stem_stride),  # (149, 149)
            conv(32, 64, 3),  # (147, 147)
        )
        rates = iter(drop_path_rates(drop_path, len(ENTRY + MIDDLE + EXIT)))
        self.stages, channels = nn.Sequential(), 64
        for flow in (ENTRY, MIDDLE, EXIT):
            stage = Stage()
            for widths, stride in flow:
                stage.append(XceptionModule(channels, widths, stride, next(rates), norm, first=channels == 64))
                channels = widths[-1]
            self.stages.append(stage)
        for width in LAST:
            stage.append(DepthwiseSeparable(channels, width, inner=False, **norm))
            channels = width
        self.last = nn.Identity()
        self.head = ClassifierHead(channels, num_classes, dropout)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Glorot and Bengio 2010: uniform, of variance 2 / (fan_in + fan_out); bias zero."""
        init_layer(module, nn.init.xavier_uniform_)
