"""NASNet: learning transferable architectures for scalable image recognition (Zoph et al. 2017), arXiv 1707.07012.

A cell is searched on CIFAR-10, then repeated more often and wider on ImageNet: NASNet-A (N @ F) has N normal cells a
stage and F channels in its last map. In the paper: CIFAR-10 error of 6 @ 768 3.41, with cutout 2.65 (Table 1);
ImageNet top-1 accuracy of 6 @ 4032 82.7 (Table 2), of 4 @ 1056 74.0 (Table 3).

A cell is a table, and one class builds any table over the search space: archs/cells.py. What the paper leaves open
is as in the authors' release, TF-slim: widths, padding, drop path, auxiliary head, initial weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from archs.arguments import ArchitectureError, Channels, Classes, Count, Momentum, Positive, Rate, Stem, choose
from archs.blocks import ClassifierHead, ConvNormAct, drop_path_rates
from archs.cells import Cell, Pool, Table, mean_pool

NORMAL_A = Table(  # Figure 4
    rows=(
        (0, "sep_5x5", 1, "sep_3x3"),
        (1, "sep_5x5", 1, "sep_3x3"),
        (0, "avg_pool_3x3", 1, "identity"),
        (1, "avg_pool_3x3", 1, "avg_pool_3x3"),
        (0, "sep_3x3", 0, "identity"),
    ),
    concat=(1, 2, 3, 4, 5, 6),
)
REDUCTION_A = Table(
    rows=(
        (0, "sep_5x5", 1, "sep_7x7"),
        (0, "max_pool_3x3", 1, "sep_7x7"),
        (0, "avg_pool_3x3", 1, "sep_5x5"),
        (3, "identity", 2, "avg_pool_3x3"),
        (2, "sep_3x3", 0, "max_pool_3x3"),
    ),
    concat=(3, 4, 5, 6),
)
CELLS = {"nasnet_a": (NORMAL_A, REDUCTION_A)}


class AuxiliaryHead(nn.Sequential):
    """(B, in, H, W) -> (B, num_classes); a map whose side is not `size` is first pooled to it."""

    def __init__(self, in_channels: int, num_classes: int, size: int, conv: Callable[..., nn.Module]) -> None:
        side = (size - 5) // 3 + 1  # the second convolution sees the whole map: 14 -> 4, 16 -> 4, 21 -> 6
        super().__init__(
            nn.AvgPool2d(5, stride=3),
            conv(in_channels, 128, 1),
            conv(128, 768, side, padding=0),
            nn.Flatten(1),
            nn.Linear(768, num_classes),
        )
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != self.size or x.shape[3] != self.size:
            x = F.adaptive_avg_pool2d(x, self.size)
        return super().forward(x)


class NASNet(nn.Module):
    """3x3 stem, three stages of normal cells with a reduction cell between, average pooling, linear.

    Args:
        cells: a name in CELLS, or two tables, the normal cell's and the reduction cell's.
        repeats, features: N and F of NASNet-A (N @ F).
        stem: "imagenet" is 3x3/2 and two reduction cells, a quarter and half as wide as the first stage; "cifar" 3x3.
        stem_channels: of the 3x3.
        skip_reduction: what a reduction read as h_i-1, the cell after it reads again, not the reduction's h_i.
        aux_heads: a second classifier before the last reduction, in training; its loss weighs 0.4.
        aux_size: side of the map there at the paper's resolution.
        padding: "same" is TensorFlow's; "timm" also counts the zeros in its means of stride 2.
        drop_path: of the last cell at the end of training; cell i of n, from 1, has i / n of it. See `set_progress`.
        norm_eps, norm_momentum: of batch normalisation.
    """

    def __init__(
        self,
        cells: Literal["nasnet_a"] | tuple[Table, Table] = "nasnet_a",
        repeats: Count = 4,
        features: Annotated[int, "x >= 96 and x % 24 == 0"] = 1056,  # 24: four times the states of nasnet_a's output
        num_classes: Classes = 1000,
        in_channels: Channels = 3,
        stem: Stem = "imagenet",
        stem_channels: Count = 32,
        skip_reduction: bool = False,
        aux_heads: bool = False,
        aux_size: Annotated[int, "x >= 5"] = 14,
        padding: Literal["same", "timm"] = "same",
        drop_path: Rate = 0.0,
        dropout: Rate = 0.0,
        norm_eps: Positive = 1e-3,
        norm_momentum: Momentum = 0.1,
    ) -> None:
        super().__init__()
        normal, reduction = CELLS[choose("cells", cells, tuple(CELLS))] if isinstance(cells, str) else cells
        choose("padding", padding, ("same", "timm"))
        unit = 4 * len(normal.concat)
        width = features // unit  # 1056 / (4 x 6 states) = 44
        if width < 4 or features % unit:
            raise ArchitectureError(f"arch.features={features}: it is a multiple of {unit}, from {4 * unit} on.")
        if repeats < 1:
            raise ArchitectureError(f"arch.repeats={repeats}: it is 1 or more.")
        plan = [  # (width, stride) of the cells of each stage
            [(width, 1)] * repeats,
            [(2 * width, 2)] + [(2 * width, 1)] * repeats,
            [(4 * width, 2)] + [(4 * width, 1)] * repeats,
        ]
        conv = partial(ConvNormAct, eps=norm_eps, momentum=norm_momentum)
        if choose("stem", stem, ("imagenet", "cifar")) == "imagenet":
            self.stem = conv(in_channels, stem_channels, 3, stride=2, padding=0, act=None)
            plan.insert(0, [(width // 4, 2), (width // 2, 2)])
            self.min_size = 19  # the last factorized reduction needs two pixels: 19 -> 9 -> 5 -> 3 -> 2 -> 1
        else:
            self.stem = conv(in_channels, stem_channels, 3, act=None)
            self.min_size = 3  # 3 -> 2 -> 1

        norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
        cell = partial(Cell, norm=norm)
        rates = iter(drop_path_rates(drop_path, sum(map(len, plan)) + 1)[1:])
        stages, outputs = [], []
        channels, previous_channels, previous_stride = stem_channels, stem_channels, 0
        for sizes in plan:
            stages.append(nn.Sequential())
            for filters, stride in sizes:
                table = reduction if stride == 2 else normal
                skip = skip_reduction and stride == 2 and sizes is not plan[0]
                sizes_in = (channels, previous_channels, previous_stride)
                stages[-1].append(cell(table, *sizes_in, filters, stride, skip, next(rates)))
                previous_channels, previous_stride = (previous_channels, 2) if skip else (channels, stride)
                channels = filters * len(table.concat)
            outputs.append(channels)
        self.stages = nn.Sequential(*stages)
        for module in self.stages.modules():
            if isinstance(module, Pool):
                module.count_zeros = padding == "timm" and module.stride == 2 and module.pool is mean_pool
        self.head = ClassifierHead(channels, num_classes, dropout)
        heads = [AuxiliaryHead(outputs[-2], num_classes, aux_size, conv)] if aux_heads else []
        self.aux_heads, self.aux_weights = nn.ModuleList(heads), (0.4,) * len(heads)
        self.init_weights()

    def init_weights(self) -> None:
        """Truncated normal of variance 2 / fan_out, linear layers too; a depthwise filter's fan-out is k * k."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_out = module.weight.numel() // module.weight.shape[1] // getattr(module, "groups", 1)
                std = math.sqrt(1.3 * 2 / fan_out)  # the cut, at two deviations, takes the 1.3 back
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def set_progress(self, fraction: float) -> None:
        """Set drop path to this fraction, 0 to 1, of its final rates: step / steps, before each step of training.

        Where it is never called the final rates hold throughout.
        """
        for cell in (cell for stage in self.stages for cell in stage.children()):
            if isinstance(cell, Cell):
                cell.drop_path.keep.fill_(1.0 - cell.drop_path.rate * fraction)

    def trunk(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last map, and the one before the last reduction."""
        x = self.stem(images)
        before, pair = x, (F.relu(x), x)
        for stage in self.stages:
            before, pair = pair[0], stage(pair)
        return pair[0], before

    def forward_features(self, images: Tensor) -> Tensor:
        return self.trunk(images)[0]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        features, before = self.trunk(images)
        logits = self.head(features)
        if self.training and self.aux_weights:
            return logits, [head(before) for head in self.aux_heads]
        return logits
