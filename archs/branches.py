"""Modules built from a table of branches, as the figures of the Inception papers draw them."""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import ArchitectureError
from lineage.archs.blocks import ConvNormAct
from lineage.archs.network import Stage


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
            f'"{layer}": {unknown[0]} is unknown. A layer is "3x3 32" (a convolution to 32 channels), '
            '"max" or "avg", followed by "/2" (stride 2) and "V" (without padding).'
        )
    if is_conv and not channels:
        raise ArchitectureError(f'"{layer}": the channels of the convolution are missing, as in "{kind} 32".')
    return kind, channels, 2 if "/2" in words else 1, "V" in words


class Chain(Stage):
    """Layers in a row, written as in the figures of the Inception papers; `out_channels` is the last one's.

    A layer is "1x7 192", a convolution to 192 channels as `conv` makes it; "max" or "avg", 3x3 pooling; or a list of
    branches (see Branches), each again such a row. "/2" is stride 2. "V" is valid, without padding; layers without V
    keep the resolution, or half of it, rounded up.

    Raises:
        ArchitectureError: a layer has another word; the message names it.
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


class Chains(nn.Sequential):
    """Stages, each a Chain on the output of the one before it; `out_channels` is the last one's."""

    def __init__(
        self,
        in_channels: int,
        stages: Sequence[Sequence],
        conv: Callable[..., nn.Module] = ConvNormAct,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = in_channels
        for layers in stages:
            chain = Chain(self.out_channels, layers, conv, count_include_pad)
            self.append(chain)
            self.out_channels = chain.out_channels


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
