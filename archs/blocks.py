"""Modules that several families share. The contract of every network is `class Network`: archs/network.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class HeConv2d(nn.Conv2d):
    """Convolution initialised as in He et al. 2015, arXiv 1502.01852: normal of variance 2 / fan_out, bias zero."""

    def reset_parameters(self) -> None:
        init_layer(self, partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"))


def same_padding(kernel_size: int | tuple[int, int]) -> tuple[int, int]:
    """The padding that keeps the resolution if the kernel is odd."""
    height, width = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
    return height // 2, width // 2


def activation(kind: type[nn.Module]) -> nn.Module:
    """In place where the gradient needs the output alone, as in a ReLU: PyTorch would first copy what it needs."""
    return kind(inplace=True) if issubclass(kind, nn.ReLU | nn.ReLU6) else kind()


class ConvNormAct(nn.Sequential):
    """Convolution (no bias), batch normalisation, activation: (B, in, H, W) -> (B, out, H/stride, W/stride).

    `padding=None` keeps the resolution of an odd kernel ("same"); `act=None` leaves the activation out.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int] = 3, stride: int = 1,
        padding: int | tuple[int, int] | None = None, groups: int = 1,
        act: type[nn.Module] | None = nn.ReLU, eps: float = 1e-5, momentum: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = same_padding(kernel_size) if padding is None else padding
        self.conv = HeConv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        if act is not None:
            self.act = activation(act)


class ConvAct(nn.Sequential):
    """Convolution with bias, ReLU: (B, in, H, W) -> (B, out, H/stride, W/stride). `padding=None` is "same"."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], stride: int = 1,
        padding: int | tuple[int, int] | None = None, groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = same_padding(kernel_size) if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups)
        self.act = nn.ReLU(inplace=True)


class DepthwiseSeparable(nn.Sequential):
    """A 3x3 filter per channel, then 1x1 across channels: (B, in, H, W) -> (B, out, H/stride, W/stride).

    Costs 1/out + 1/9 of a full 3x3 convolution. `inner` normalises and activates between the two as well, as in
    MobileNet (arXiv 1704.04861, Figure 3); without it they follow each other directly, as in Xception.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, inner: bool = True,
        act: type[nn.Module] | None = nn.ReLU, eps: float = 1e-5, momentum: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        conv = partial(ConvNormAct, act=act, eps=eps, momentum=momentum)
        if inner:
            self.depthwise: nn.Module = conv(in_channels, in_channels, 3, stride, groups=in_channels)
        else:
            self.depthwise = HeConv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False)
        self.pointwise = conv(in_channels, out_channels, 1)


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


def init_layer(module: nn.Module, draw: Callable[[Tensor], Any]) -> None:
    """Draw the weights of a convolution or a linear layer; its bias starts at zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        draw(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def truncated_normal_(weight: Tensor, std: float) -> Tensor:
    """A normal distribution, cut at two deviations."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, half up; the next one where that would lose more than 10 %.

    Source: the released code of MobileNet v2 (arXiv 1801.04381) and EfficientNet (arXiv 1905.11946).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def drop_path_rates(rate: float, blocks: int) -> list[float]:
    """Linear rule of stochastic depth: rate * i / (blocks - 1) for the blocks i = 0, 1, ..."""
    return [rate * i / max(blocks - 1, 1) for i in range(blocks)]


class ShortcutA(nn.Module):
    """Parameter-free shortcut: every `stride`-th pixel, zeros in the new channels (He et al. 2015, section 3.3, A)."""

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        missing = x.new_zeros((x.shape[0], self.out_channels - x.shape[1], x.shape[2], x.shape[3]))
        return torch.cat((x, missing), dim=1)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the mean of all: (B, C, H, W) -> (B, C, H, W).

    Source: arXiv 1709.01507, where `squeeze_channels` is C/16; in EfficientNet it is a quarter of the block's input.
    """

    def __init__(self, channels: int, squeeze_channels: int, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.reduce = HeConv2d(channels, squeeze_channels, 1)
        self.act = activation(act)
        self.expand = HeConv2d(squeeze_channels, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(squeezed))))


class InvertedResidual(nn.Module):
    """1x1 up to `expansion` times the channels, depthwise, linear 1x1: (B, in, H, W) -> (B, out, H/stride, W/stride).

    The shortcut joins input and output only where their shapes agree; there is no projection.

    `conv` makes a convolution with its normalisation and activation, as ConvNormAct does; `gate` makes a
    Squeeze-and-Excitation, given the depthwise channels and a quarter of the block's input channels.
    Source: Sandler et al. 2018, arXiv 1801.04381; with `gate`, EfficientNet's MBConv, arXiv 1905.11946.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, drop_path: float,
        expansion: int, conv: Callable[..., nn.Module], kernel_size: int = 3,
        *, gate: Callable[[int, int], nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = in_channels * expansion
        self.expand = conv(in_channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = conv(inner, inner, kernel_size, stride, groups=inner)
        self.se = gate(inner, in_channels // 4) if gate else nn.Identity()
        self.project = conv(inner, out_channels, 1, act=None)
        self.residual = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path if self.residual else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.se(self.depthwise(self.expand(x))))
        return x + self.drop_path(out) if self.residual else out


class NoClassifier(nn.Identity):
    """Stands in for a classifier without classes: returns its input, (B, in_features)."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features


def classifier(in_features: int, num_classes: int) -> nn.Linear | NoClassifier:
    """The last layer of a head: (B, in_features) -> (B, num_classes), or (B, in_features) without classes."""
    return nn.Linear(in_features, num_classes) if num_classes else NoClassifier(in_features)


class ClassifierHead(nn.Sequential):
    """Global average pooling, dropout, linear: (B, C, H, W) -> (B, num_classes), or (B, C) without classes."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        if dropout:
            self.dropout = nn.Dropout(dropout)
        self.linear = classifier(in_channels, num_classes)


def recompute(run: Callable[..., Any], *inputs: Any) -> Any:
    """`run(*inputs)`, a module or its method: the graph keeps only the inputs, and the backward pass runs it again.

    The results are the same, bit for bit, in less memory and more time: dropout and stochastic depth draw the
    same again, and batch normalisation moves its running statistics once. Source: Chen et al. 2016, arXiv 1604.06174.
    """
    module = run if isinstance(run, nn.Module) else getattr(run, "__self__")  # noqa: B009  # of a method
    if torch.compiler.is_compiling():  # a compiled graph takes no contexts, and updates the statistics once
        return checkpoint(run, *inputs, use_reentrant=False)
    # The contexts of the forward pass and of its repetition.
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_kept(module)))


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch normalisation as in training, with momentum 0: its running mean and variance stay as they are."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
