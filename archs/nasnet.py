"""NASNet: learning transferable architectures for scalable image recognition (Zoph et al. 2017), arXiv 1707.07012.

A cell is searched on CIFAR-10, then repeated more often and wider on ImageNet: NASNet-A (N @ F) has N normal cells a
stage and F channels in its last map. In the paper: CIFAR-10 error of 6 @ 768 3.41, with cutout 2.65 (Table 1);
ImageNet top-1 accuracy of 6 @ 4032 82.7 (Table 2), of 4 @ 1056 74.0 (Table 3).

Two cells are a word (archs/genotype.py), and one class builds any cell of the search space: archs/cells.py. What the
paper leaves open is as in the authors' release, TF-slim: padding, drop path, auxiliary head, initial weights.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import Channels, Classes, Count, Momentum, Positive, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvNormAct, classifier, drop_path_rates, init_layer, truncated_normal_
from lineage.archs.cells import CellShared, CellStage, Inputs, ScheduledDropPath, Size
from lineage.archs.genotype import parse
from lineage.archs.network import Network
from lineage.archs.operations import PADDINGS, normalisation


class AuxiliaryHead(nn.Sequential):
    """(B, in, H, W) -> (B, num_classes); a map whose side is not `size` is first pooled to it."""

    def __init__(self, in_channels: int, num_classes: int, size: int, conv: Callable[..., nn.Module]) -> None:
        side = (size - 5) // 3 + 1  # the second convolution sees the whole map: 14 -> 4, 16 -> 4, 21 -> 6
        super().__init__(
            nn.AvgPool2d(5, stride=3),
            conv(in_channels, 128, 1),
            conv(128, 768, side, padding=0),
            nn.Flatten(1),
            classifier(768, num_classes),
        )
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != self.size or x.shape[3] != self.size:
            x = F.adaptive_avg_pool2d(x, self.size)
        return super().forward(x)


class NASNet(Network):
    """3x3 stem, stages of normal cells, a reduction cell between two stages, average pooling, linear (Figure 2).

    Args:
        cells: a name or a word of archs/genotype.py: a normal and a reduction cell.
        repeats: N of N @ F.
        filters: of an operation in the first stage, doubled in each later one; at least 8, a quarter of which, in the
            ImageNet stem, is two halves. F counts the last map: 44 x 4 in the third stage, times 6 states, is 1056.
        norm: of the cells; the other layers keep batch normalisation.
        stem: "imagenet" is 3x3/2, of `stem_channels`, and two reduction cells, a quarter and half as wide as the next.
        skip_reduction: the cell after a reduction reads as h_i-1 the reduction's h_i-1, not its h_i.
        aux_heads: a second classifier before the last reduction, in training; its loss weighs 0.4.
        aux_size: side of the map there at the paper's resolution.
        padding: "same" is TensorFlow's; "timm" also counts the zeros in its means of stride 2.
        drop_path: of the last cell at the end of training; cell i of n, from 1, has i / n of it. See `set_progress`.
    """

    def __init__(
        self, cells: str = "nasnet_a", repeats: Count = 4, filters: Annotated[int, "x >= 8"] = 44,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", stem_channels: Count = 32,
        skip_reduction: bool = False, aux_heads: bool = False, aux_size: Annotated[int, "x >= 5"] = 14,
        padding: Literal["same", "timm"] = "same", drop_path: Rate = 0.0, dropout: Rate = 0.0,
        norm: Literal["batch", "layer", "instance"] = "batch", norm_eps: Positive = 1e-3, norm_momentum: Momentum = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        tables = parse(cells)
        parts = CellShared(normalisation(norm, norm_eps, norm_momentum), PADDINGS[padding])
        conv = partial(ConvNormAct, eps=norm_eps, momentum=norm_momentum)
        if stem == "imagenet":
            self.stem = conv(in_channels, stem_channels, 3, stride=2, padding=0, act=None)
            # A factorized reduction needs two pixels, 19 -> 9 -> 5 -> 3 -> 2 -> 1, and an instance's variance too.
            self.min_size = 35 if norm == "instance" else 19
        else:
            self.stem = conv(in_channels, stem_channels, 3, act=None)
            self.min_size = 5 if norm == "instance" else 3  # 3 -> 2 -> 1
        sizes = plan(repeats, filters, stem)
        rates = iter(drop_path_rates(drop_path, sum(map(len, sizes)) + 1)[1:])
        inputs = Inputs(stem_channels, stem_channels, 0)
        self.stages, channels = nn.Sequential(), []
        for index, row in enumerate(sizes):
            stage = CellStage(skip=skip_reduction and index >= len(sizes) - 2)  # not the reductions of the stem
            inputs = stage.grow(row, inputs, tables, parts, rates)
            self.stages.append(stage)
            channels.append(inputs.channels)
        self.last = nn.Identity()
        self.head = ClassifierHead(channels[-1], num_classes, dropout)
        self.aux_heads = nn.ModuleList()
        if aux_heads:
            self.aux_heads.append(AuxiliaryHead(channels[-2], num_classes, aux_size, conv))
            self.aux_weights, self.classifiers = (0.4,), ("head.linear", "aux_heads.0.4")
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Truncated normal of variance 2 / fan_out, linear layers too; a depthwise filter's fan-out is k * k."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_out = module.weight.numel() // module.weight.shape[1] // getattr(module, "groups", 1)
            std = math.sqrt(1.3 * 2 / fan_out)  # 1.3 makes up for the variance that the cut at two deviations removes
            init_layer(module, partial(truncated_normal_, std=std))

    def set_progress(self, share: float) -> None:
        """Set drop path to this share of its final rates. Where it is never called they hold throughout."""
        for module in self.modules():
            if isinstance(module, ScheduledDropPath):
                module.keep.fill_(1.0 - module.rate * share)

    def forward_intermediates(self, images: Tensor) -> list[Tensor]:
        stem = self.stem(images)
        current, previous = F.relu(stem), stem
        maps = []
        for stage in self.stages:
            current, previous = stage(current, previous)
            maps.append(current)
        return maps

    def forward_features(self, images: Tensor) -> Tensor:
        return self.forward_intermediates(images)[-1]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        *_, before, features = self.forward_intermediates(images)
        logits = self.head(features)
        if self.training and self.aux_weights:
            return logits, [head(before) for head in self.aux_heads]
        return logits


def plan(repeats: int, filters: int, stem: str) -> list[list[Size]]:
    """The cells of each stage, a reduction first."""
    first, second, third = ([Size(filters * 2**i, 1)] * repeats for i in range(3))
    later = [[Size(2 * filters, 2), *second], [Size(4 * filters, 2), *third]]
    return [first, *later] if stem == "cifar" else [[Size(filters // 4, 2)], [Size(filters // 2, 2), *first], *later]
