"""Modules and networks built from tables, as the figures of the Inception papers draw them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import ArchitectureError
from lineage.archs.blocks import ClassifierHead, ConvNormAct, SqueezeExcite
from lineage.archs.network import Network, Stage

Table = list[list[str]]  # of Branches
Layers = Sequence[Any] | Mapping[str, Any]  # of a Chain
LAYER = re.compile(r"(?:(max|avg|mean|lrn|se)|(\d+)x(\d+) (\d+))( /2)?( V| C)?")


class FitMaxPool(nn.Module):
    """3x3 max pooling, stride 2, to the size of a padded convolution's output: (B, C, H, W) -> (B, C, ceil(H/2), ...).

    On an even side that is Caffe's rounding up and TensorFlow's SAME; an odd side is padded at both ends.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=2, padding=(x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True)


class Chain(Stage):
    """Layers in sequence, written as in the figures of the Inception papers; `out_channels` is the last one's.

    A row is a sequence, or a mapping from names, of layers:

        "1x7 192"               a convolution to 192 channels, as `conv` makes it
        "max", "avg", "mean"    3x3 pooling; "avg" counts the zeros of its padding, "mean" does not
        "lrn", "se"             local response normalisation, Squeeze-and-Excitation
        [row, row, ...]         branches (see Branches)
        (layer, layer, ...)     a row in a row

    "/2" is stride 2. "V" is valid, without padding, and so is "C", but rounded up as in Caffe; other layers keep the
    resolution, or half of it, rounded up.

    Raises:
        ArchitectureError: a layer is none of these.
    """

    def __init__(self, in_channels: int, layers: Layers, conv: Callable[..., nn.Module] = ConvNormAct) -> None:
        super().__init__()
        self.out_channels = in_channels
        for name, layer in layers.items() if isinstance(layers, Mapping) else enumerate(layers):
            if isinstance(layer, str):
                module = self.read(layer, conv)
            else:
                kind = Chain if isinstance(layer, tuple) else Branches
                module = kind(self.out_channels, layer, conv)
                self.out_channels = module.out_channels
            self.add_module(str(name), module)

    def read(self, layer: str, conv: Callable[..., nn.Module]) -> nn.Module:
        if not (match := LAYER.fullmatch(layer)):
            raise ArchitectureError(
                f'"{layer}" is no layer. A layer is "3x3 32" (to 32 channels), "max", "avg", "mean", "lrn" '
                'or "se", then "/2" (stride 2), then "V" (without padding) or "C" (without padding, rounded up).'
            )
        kind, height, width, channels, halved, border = match.groups()
        stride, padding = 2 if halved else 1, 0 if border else 1
        if kind == "lrn":
            return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        if kind == "se":
            return SqueezeExcite(self.out_channels, self.out_channels // 16)
        if kind in ("avg", "mean"):
            return nn.AvgPool2d(3, stride, padding, count_include_pad=kind == "avg")
        if kind == "max":
            return FitMaxPool() if halved and padding else nn.MaxPool2d(3, stride, padding, ceil_mode=border == " C")
        in_channels, self.out_channels = self.out_channels, int(channels)
        return conv(in_channels, int(channels), (int(height), int(width)), stride, 0 if border else None)


class Branches(nn.Module):
    """Parallel chains, concatenated: (B, in, H, W) -> (B, sum of the branches, H/stride, W/stride).

    Source: Szegedy et al. 2014, arXiv 1409.4842, Figure 2. A table has a branch per row:
    `[["1x1 64"], ["1x1 96", "3x3 128"], ["1x1 16", "5x5 32"], ["max", "1x1 32"]]` is GoogLeNet's 3a.
    """

    def __init__(self, in_channels: int, table: Sequence, conv: Callable[..., nn.Module] = ConvNormAct) -> None:
        super().__init__()
        chains = [Chain(in_channels, row, conv) for row in table]
        self.branches = nn.ModuleList(chains)
        self.out_channels = sum(chain.out_channels for chain in chains)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Inception(Network):
    """Stem, stages of Inception modules, average pooling, linear.

    Args:
        stem, stages: rows of layers, as a Chain reads them.
        aux: the auxiliary heads, for the `forward` of a family that has them.
    """

    def __init__(
        self, stem: Layers, stages: Sequence[Layers], conv: Callable[..., nn.Module],
        num_classes: int, in_channels: int, dropout: float, aux: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stem = Chain(in_channels, stem, conv)
        self.stages, channels = nn.Sequential(), self.stem.out_channels
        for layers in stages:
            stage = Chain(channels, layers, conv)
            self.stages.append(stage)
            channels = stage.out_channels
        self.aux: Any = aux
        self.last = nn.Identity()
        self.head = ClassifierHead(channels, num_classes, dropout)
        self.apply(self.initialise)
