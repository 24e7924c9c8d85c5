"""Densely connected convolutional networks (Huang, Liu, van der Maaten, Weinberger 2016), arXiv 1608.06993.

Each layer sees the maps of all layers before it in its block, and adds few of its own (the growth rate k).
ImageNet validation top-1 / top-5 errors in the paper's Table 3 (one crop): DenseNet-121 25.02 / 7.71, 169 23.80 / 6.85,
201 22.58 / 6.34; 161 (k=48) 22.33 / 6.15 in copies of an earlier version, the last has 264 in its place. CIFAR-10+ /
CIFAR-100+ errors in Table 2: DenseNet (L=40, k=12) 5.24 / 24.42, (100, 12) 4.10 / 20.20, (100, 24) 3.74 / 19.25;
DenseNet-BC (100, 12) 4.51 / 22.27, (250, 24) 3.62 / 17.60, (190, 40) 3.46 / 17.18.

"B" is a 1x1 convolution to 4k maps in each layer, "C" halves the maps in each transition; all ImageNet networks are BC.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from lineage.archs.arguments import Channels, Classes, Count, Rate, Stem, checked
from lineage.archs.blocks import ClassifierHead, ConvNormAct, HeConv2d, NormAct, recompute
from lineage.archs.network import Network, Stage


class NormActConv(nn.Module):
    """BN, ReLU, convolution, dropout on the concatenation of all inputs: several (B, C_i, H, W) -> (B, out, H, W).

    With `memory_efficient`, the backward pass concatenates, normalises and rectifies again what the forward pass then
    need not keep (Pleiss et al. 2017, arXiv 1707.06990), and all results are the same, bit for bit.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dropout: float, memory_efficient: bool
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.act = nn.ReLU(inplace=True)
        self.conv = HeConv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.memory_efficient = memory_efficient

    def convolve(self, *inputs: Tensor) -> Tensor:
        joined = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
        return self.conv(self.act(self.norm(joined)))

    def forward(self, *inputs: Tensor) -> Tensor:
        again = self.memory_efficient and self.training
        return self.dropout(recompute(self.convolve, *inputs) if again else self.convolve(*inputs))


class DenseLayer(nn.Module):
    """1x1 to `bottleneck` x k maps (unless 0), 3x3 to k maps: several (B, C_i, H, W) -> (B, k, H, W)."""

    def __init__(self, in_channels: int, growth_rate: int, bottleneck: int, conv: Callable[..., nn.Module]) -> None:
        super().__init__()
        width = bottleneck * growth_rate
        self.conv1 = conv(in_channels, width, 1) if bottleneck else None
        self.conv2 = conv(width or in_channels, growth_rate, 3)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.conv2(*inputs) if self.conv1 is None else self.conv2(self.conv1(*inputs))


class DenseBlock(Stage):
    """A transition, then layers, each on the outputs of all before it: (B, in, H, W) -> (B, in + layers x k, H, W).

    `in` counts what the transition leaves, H and W too; in the first block it is the identity.
    """

    def forward(self, x: Tensor) -> Tensor:
        transition, *layers = self
        outputs = [self.run(transition, x)]
        for layer in layers:
            outputs.append(self.run(layer, *outputs))
        return torch.cat(outputs, dim=1)


class DenseNet(Network):
    """Stem, dense blocks with a transition (1x1, 2x2 average pooling) between them, BN-ReLU, average pooling, linear.

    Args:
        growth_rate: k, the maps that a layer adds.
        depths: layers of each block.
        stem_channels: maps of the first convolution (2k in BC networks, 16 in plain ones).
        bottleneck: maps of the 1x1 convolution in multiples of k; 0 leaves it out.
        compression: theta, the share of maps that a transition keeps.
        dropout: probability after every convolution but the first (0.2 in the paper, where data are not augmented).
        memory_efficient: recompute concatenations, normalisations and ReLUs in the backward pass.
    """

    def __init__(
        self, growth_rate: Count, depths: Sequence[Count], stem_channels: Count,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        bottleneck: Annotated[int, "x >= 0"] = 4, compression: Annotated[float, "0 < x <= 1"] = 0.5,
        dropout: Rate = 0.0, memory_efficient: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if stem == "imagenet":
            pool = nn.MaxPool2d(3, stride=2, padding=1)
            self.stem: nn.Module = nn.Sequential(ConvNormAct(in_channels, stem_channels, 7, stride=2), pool)
            self.min_size = 2 ** (len(depths) + 1) - 3  # one pixel in the last map: 29 -> 15 -> 8 -> 4 -> 2 -> 1
        else:
            self.stem = HeConv2d(in_channels, stem_channels, 3, padding=1, bias=False)
            self.min_size = 2 ** (len(depths) - 1)  # 4 -> 2 -> 1

        conv = partial(NormActConv, dropout=dropout, memory_efficient=memory_efficient)
        self.stages, channels = nn.Sequential(), stem_channels
        for index, depth in enumerate(depths):
            transition: nn.Module = nn.Identity()
            if index > 0:
                given, channels = channels, int(channels * compression)
                transition = nn.Sequential(conv(given, channels, 1), nn.AvgPool2d(2))
            inputs = [channels + i * growth_rate for i in range(depth)]
            layers = [DenseLayer(width, growth_rate, bottleneck, conv) for width in inputs]
            self.stages.append(DenseBlock(transition, *layers))
            channels += depth * growth_rate
        self.last = NormAct(channels)
        self.head = ClassifierHead(channels, num_classes)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Over He's normal of the convolutions, as in the authors' Torch code."""
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


@checked
def densenet_bc(
    depth: Annotated[int, "x >= 10 and x % 6 == 4"],
    growth_rate: Count,
    num_classes: Classes = 10, in_channels: Channels = 3, stem: Stem = "cifar",
    bottleneck: Annotated[int, "x >= 0"] = 4, compression: Annotated[float, "0 < x <= 1"] = 0.5,
    dropout: Rate = 0.0, memory_efficient: bool = False,
) -> DenseNet:  # fmt: skip
    """DenseNet-BC for CIFAR: 6n + 4 layers in three blocks, 2k maps from the stem."""
    return DenseNet(
        growth_rate, [(depth - 4) // 6] * 3, 2 * growth_rate, num_classes, in_channels, stem, bottleneck, compression,
        dropout, memory_efficient,
    )  # fmt: skip


@checked
def densenet_cifar(
    depth: Annotated[int, "x >= 7 and x % 3 == 1"],
    growth_rate: Count,
    num_classes: Classes = 10, in_channels: Channels = 3, stem: Stem = "cifar",
    bottleneck: Annotated[int, "x >= 0"] = 0, compression: Annotated[float, "0 < x <= 1"] = 1.0,
    dropout: Rate = 0.0, memory_efficient: bool = False,
) -> DenseNet:  # fmt: skip
    """The plain DenseNet for CIFAR: 3n + 4 layers in three blocks, 16 maps from the stem."""
    return DenseNet(
        growth_rate, [(depth - 4) // 3] * 3, 16, num_classes, in_channels, stem, bottleneck, compression, dropout,
        memory_efficient,
    )  # fmt: skip
