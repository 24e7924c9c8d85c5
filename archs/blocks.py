"""The bricks that several families share, and the contract that every network keeps.

A network is an nn.Module with `stem`, `stages`, `head`, `forward_features(images) -> (B, C, H, W)`,
`forward(images) -> (B, num_classes)`, and `min_size`, the smallest image side, in pixels, that it takes.
In training, a network with auxiliary heads returns `(logits, [auxiliary logits, ...])` and states the weight of each
in `aux_weights`. One that changes over training (NASNet: its drop path grows) has `set_progress(share)`, called before
every step with the share of all steps that are done. What a user should know of it may stand in `notes`, sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from user_error import UserError

# What an argument may be; a string is a condition in x. running/signatures.py reads these types from the source, so a
# command with another value is refused before torch is imported.
Count = Annotated[int, "x >= 1"]
Classes = Annotated[int, "1 <= x <= 1000000"]
Channels = Annotated[int, "1 <= x <= 1024"]  # of the images
Multiplier = Annotated[float, "0 < x <= 32"]
Rate = Annotated[float, "0 <= x < 1"]  # a probability of dropping
Momentum = Annotated[float, "0 < x <= 1"]  # the share of the new value
Positive = Annotated[float, "x > 0"]
Stem = Literal["imagenet", "cifar"]
Block = Literal["basic", "bottleneck"]  # of residual networks
Shortcut = Literal["A", "B"]


class ArchitectureError(UserError, ValueError):
    """An argument that does not describe a network; the message is one sentence for the user."""


def choose(what: str, value: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`; raise ArchitectureError, naming them, if not."""
    if value not in choices:
        raise ArchitectureError(f"arch.{what}={value}: it is one of {', '.join(choices)}.")
    return value


class HeConv2d(nn.Conv2d):
    """Convolution that starts as He et al. 2015, arXiv 1502.01852: normal, of variance 2 / fan_out; bias zero."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class ConvNormAct(nn.Sequential):
    """Convolution (no bias), batch normalisation, activation: (B, in, H, W) -> (B, out, H/stride, W/stride).

    `padding=None` keeps the resolution of an odd kernel ("same"); `act=None` leaves the activation out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
        groups: int = 1,
        act: type[nn.Module] | None = nn.ReLU,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        if padding is None:
            height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
            padding = (height // 2, width // 2)
        super().__init__()
        self.conv = HeConv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        if act is not None:
            self.act = act() if act in (nn.Sigmoid, nn.Tanh) else act(inplace=True)


class DepthwiseSeparable(nn.Sequential):
    """A filter per channel, then 1x1 across channels: (B, in, H, W) -> (B, out, H/stride, W/stride).

    Costs 1/out + 1/k^2 of a full k x k convolution. `inner` normalises and activates between the two as well, as in
    MobileNet (arXiv 1704.04861, Figure 3); without it they follow each other directly, as in Xception and NASNet.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        inner: bool = True,
        act: type[nn.Module] | None = nn.ReLU,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        if inner:
            self.depthwise: nn.Module = ConvNormAct(
                in_channels, in_channels, kernel_size, stride, padding, in_channels, act, eps, momentum
            )
        else:
            self.depthwise = HeConv2d(
                in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False
            )
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, act=act, eps=eps, momentum=momentum)


class NormAct(nn.Sequential):
    """Batch normalisation and ReLU, shape kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)


class DropPath(nn.Module):
    """Stochastic depth: drop a whole residual branch, sample by sample, with probability `rate`; keep its mean.

    Source: Huang et al. 2016, arXiv 1603.09382; in timm's scaled form, 1 / (1 - rate) in training.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def drop_path_rates(rate: float, blocks: int) -> list[float]:
    """Linear rule of stochastic depth: rate * i / (blocks - 1) for the blocks i = 0, 1, ..."""
    return [rate * i / max(blocks - 1, 1) for i in range(blocks)]


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the mean of all: (B, C, H, W) -> (B, C, H, W).

    Source: Hu et al. 2017, arXiv 1709.01507; `squeeze_channels` is C/16 there, a quarter of the block's input in
    EfficientNet.
    """

    def __init__(
        self,
        channels: int,
        squeeze_channels: int,
        act: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.reduce = HeConv2d(channels, squeeze_channels, 1)
        self.act = act(inplace=True)
        self.expand = HeConv2d(squeeze_channels, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(squeezed))))


class FitMaxPool(nn.Module):
    """3x3 max pooling, stride 2, to the size of a padded convolution's output: (B, C, H, W) -> (B, C, ceil(H/2), ...).

    On an even side that is Caffe's rounding up and TensorFlow's SAME; an odd side is padded at both ends.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=2, padding=(x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True)


def read_layer(layer: str) -> tuple[str, int, int, bool]:
    """A layer of a Chain as kind, channels (0 of a pooling), stride, and whether it is valid."""
    kind, *words = layer.split() or [""]
    is_conv = re.fullmatch(r"\d+x\d+", kind) is not None
    channels = int(words.pop(0)) if is_conv and words and words[0].isdecimal() else 0
    unknown = [] if is_conv or kind in ("max", "avg") else [kind]
    unknown += [word for word in words if word not in ("/2", "V")]
    if unknown:
        raise ArchitectureError(
            f'"{layer}": {unknown[0]} is no word of a layer, which is "3x3 32" (a convolution to 32 channels), '
            '"max" or "avg", and then "/2" (stride 2) and "V" (without padding).'
        )
    if is_conv and not channels:
        raise ArchitectureError(f'"{layer}": the channels of the convolution are missing, as in "{kind} 32".')
    return kind, channels, 2 if "/2" in words else 1, "V" in words


class Chain(nn.Sequential):
    """Layers in a row, written as in the figures of the Inception papers; `out_channels` is the last one's.

    A layer is "1x7 192", a convolution to 192 channels as `conv` makes it; "max" or "avg", 3x3 pooling; or a list of
    branches (see Branches), each again such a row. "/2" is stride 2. "V" is valid, without padding; layers without V
    keep the resolution, or half of it, rounded up.

    Raises:
        ArchitectureError: a layer has another word, which is named.
    """

    def __init__(
        self,
        in_channels: int,
        layers: Sequence,
        conv: Callable[..., nn.Module] = ConvNormAct,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = in_channels
        for layer in layers:
            if isinstance(layer, str):
                self.append(self.read(layer, conv, count_include_pad))
            else:
                fork = Branches(self.out_channels, layer, conv, count_include_pad)
                self.append(fork)
                self.out_channels = fork.out_channels

    def read(self, layer: str, conv: Callable[..., nn.Module], count_include_pad: bool) -> nn.Module:
        kind, channels, stride, valid = read_layer(layer)
        if kind == "avg":
            return nn.AvgPool2d(3, stride, 0 if valid else 1, count_include_pad=count_include_pad)
        if kind == "max":
            return FitMaxPool() if stride == 2 and not valid else nn.MaxPool2d(3, stride, 0 if valid else 1)
        height, width = map(int, kind.split("x"))
        in_channels, self.out_channels = self.out_channels, channels
        return conv(in_channels, channels, (height, width), stride, 0 if valid else None)


class Branches(nn.Module):
    """Parallel chains, concatenated: (B, in, H, W) -> (B, sum of the branches, H/stride, W/stride).

    Source: Szegedy et al. 2014, arXiv 1409.4842, Figure 2. A table has a branch per row:
    `[["1x1 64"], ["1x1 96", "3x3 128"], ["1x1 16", "5x5 32"], ["max", "1x1 32"]]` is GoogLeNet's 3a.
    """

    def __init__(
        self,
        in_channels: int,
        table: Sequence[Sequence],
        conv: Callable[..., nn.Module] = ConvNormAct,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        chains = [Chain(in_channels, row, conv, count_include_pad) for row in table]
        self.branches = nn.ModuleList(chains)
        self.out_channels = sum(chain.out_channels for chain in chains)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class ClassifierHead(nn.Sequential):
    """Global average pooling, dropout, linear: (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        if dropout:
            self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, num_classes)


class ShortcutA(nn.Module):
    """Parameter-free shortcut: every `stride`-th pixel, zeros in the new channels (He et al. 2015, section 3.3, A)."""

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        missing = x.new_zeros((x.shape[0], self.out_channels - x.shape[1], x.shape[2], x.shape[3]))
        return torch.cat((x, missing), dim=1)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, half up; the next one where that would lose more than 10 %.

    Source: the released code of MobileNet v2 (arXiv 1801.04381) and EfficientNet (arXiv 1905.11946).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


# Compound scaling, arXiv 1905.11946, section 3.3: a unit of phi multiplies depth, width, resolution by these, and the
# operations by about two: 1.2 * 1.1^2 * 1.15^2 = 1.92.
ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15


def compound_scale(
    depths: Sequence[int],
    widths: Sequence[int],
    width_mult: float = 1.0,
    depth_mult: float = 1.0,
    phi: float = 0.0,
) -> tuple[list[int], list[int]]:
    """Scale any network's layers per stage (rounded up) and channels (to multiples of 8).

    Args:
        depths, widths: layers of each stage; channels of each stage, stem and head. They may differ in number.
        width_mult, depth_mult: as given, as in MobileNet's alpha or EfficientNet's published table.
        phi: the compound coefficient of arXiv 1905.11946, 1.2^phi in depth and 1.1^phi in width.
    """
    depth_mult, width_mult = depth_mult * ALPHA**phi, width_mult * BETA**phi
    if depth_mult <= 0 or width_mult <= 0:
        raise ArchitectureError(f"Scaling depth by {depth_mult:g} and width by {width_mult:g}: both must be above 0.")
    # 1e-9, because 1.1 * 10 is 11.000000000000002
    layers = [math.ceil(depth * depth_mult - 1e-9) for depth in depths]
    return layers, [round_channels(width * width_mult) for width in widths]
