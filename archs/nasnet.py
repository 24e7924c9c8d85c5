"""NASNet: learning transferable architectures for scalable image recognition (Zoph et al. 2017), arXiv 1707.07012.

A cell is searched on CIFAR-10, then repeated more often and wider on ImageNet: NASNet-A (N @ F) has N normal cells a
stage and F channels in its last map. In the paper: CIFAR-10 error of 6 @ 768 3.41, with cutout 2.65 (Table 1);
ImageNet top-1 accuracy of 6 @ 4032 82.7 (Table 2), of 4 @ 1056 74.0 (Table 3).

A cell is a table, and one class builds any table over the 13 operations of the search space. What the paper leaves open
is as in the authors' release, TF-slim: widths, padding, drop path, auxiliary head, initial weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archs.blocks import ArchitectureError, Classifier, ConvNormAct, DropPath, choose, drop_path_rates

Norm = Callable[[int], nn.Module]


class Table(NamedTuple):
    """State 0 is h_i, the last cell's output, state 1 is h_i-1, the one before; row r makes state r + 2, a sum of two.

    `concat` lists the states that are the cell's output: in the paper's words the unused ones, but its networks also
    keep one that is used, h_i-1 in the normal cell and state 3 in the reduction cell.
    """

    rows: Sequence[tuple[int, str, int, str]]  # input, operation, input, operation
    concat: Sequence[int]


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


def zeros_before(x: Tensor, stride: Sequence[int], zeros_after: Sequence[int], padding: str) -> list[int]:
    """As many before a side as after it; in TensorFlow's SAME one less, at stride 2 where the side is even."""
    rows = zip(x.shape[2:], stride, zeros_after, strict=True)
    less = padding != "symmetric"
    return [max(zeros - (less and step == 2 and side % 2 == 0), 0) for side, step, zeros in rows]


class Conv(nn.Conv2d):
    """Convolution without bias: (B, in, H, W) -> (B, out, ceil(H/stride), ceil(W/stride))."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int], padding: str,
        dilation: int = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        self.after, self.rule = (kernel[0] // 2 * dilation, kernel[1] // 2 * dilation), padding
        super().__init__(in_channels, out_channels, kernel, stride, self.after, dilation, groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        before = zeros_before(x, self.stride, self.after, self.rule)
        height, width = self.after[0] - before[0], self.after[1] - before[1]
        if height or width:
            x = F.pad(x, (0, width, 0, height))
        return F.conv2d(x, self.weight, None, self.stride, before, self.dilation, self.groups)


def convolutions(
    in_channels: int, out_channels: int, stride: int, padding: str, norm: Norm,
    kernels: Sequence[tuple[int, int]] = ((1, 1),), dilation: int = 1, separable: bool = False,
) -> nn.Sequential:  # fmt: skip
    """Convolution and normalisation for each kernel, ReLU between; the ReLU before the first is the cell's."""
    layers: list[nn.Module] = []
    strides = (stride, stride)
    for kernel in kernels:
        step = (strides[0] if kernel[0] == max(kernel) else 1, strides[1] if kernel[1] == max(kernel) else 1)
        strides = (strides[0] // step[0], strides[1] // step[1])  # 1x7 takes the stride in width, 7x1 that in height
        layers += [nn.ReLU(inplace=True)] if layers else []
        if separable:
            layers.append(Conv(in_channels, in_channels, kernel, step, padding, groups=in_channels))
            kernel, step = (1, 1), (1, 1)
        layers += [Conv(in_channels, out_channels, kernel, step, padding, dilation), norm(out_channels)]
        in_channels = out_channels
    return nn.Sequential(*layers)


def identity(in_channels: int, out_channels: int, stride: int, padding: str, norm: Norm) -> nn.Module:
    """The state itself; where shapes change, a 1x1."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return convolutions(in_channels, out_channels, stride, padding, norm)


mean_pool = partial(F.avg_pool2d, count_include_pad=False)


class Pool(nn.Module):
    """Maximum or mean over what is not padding; where widths change, a 1x1 after it."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, padding: str, norm: Norm, kernel: int,
        pool: Callable[..., Tensor],
    ) -> None:  # fmt: skip
        super().__init__()
        self.pool, self.kernel, self.stride, self.padding = pool, kernel, stride, padding
        self.count_zeros = padding == "timm" and stride == 2 and pool is mean_pool
        self.project = identity(in_channels, out_channels, 1, padding, norm)

    def forward(self, x: Tensor) -> Tensor:
        after = self.kernel // 2
        before = zeros_before(x, (self.stride, self.stride), (after, after), self.padding)
        if self.count_zeros:
            x, before = F.pad(x, (before[1], after, before[0], after)), [0, 0]
        # ceil_mode lets the last window reach over the end by what SAME pads there
        x = self.pool(x, self.kernel, self.stride, before, ceil_mode=self.padding != "symmetric")
        return self.project(x)


# The search space of section 3.1; each takes (in_channels, out_channels, stride, padding, norm).
OPERATIONS: dict[str, Callable[..., nn.Module]] = {
    "identity": identity,
    "conv_1x3_3x1": partial(convolutions, kernels=((1, 3), (3, 1))),
    "conv_1x7_7x1": partial(convolutions, kernels=((1, 7), (7, 1))),
    "dilated_3x3": partial(convolutions, kernels=((3, 3),), dilation=2),
    "avg_pool_3x3": partial(Pool, kernel=3, pool=mean_pool),
    "max_pool_3x3": partial(Pool, kernel=3, pool=F.max_pool2d),
    "max_pool_5x5": partial(Pool, kernel=5, pool=F.max_pool2d),
    "max_pool_7x7": partial(Pool, kernel=7, pool=F.max_pool2d),
    "conv_1x1": convolutions,
    "conv_3x3": partial(convolutions, kernels=((3, 3),)),
    "sep_3x3": partial(convolutions, kernels=((3, 3), (3, 3)), separable=True),  # separable ones are applied twice
    "sep_5x5": partial(convolutions, kernels=((5, 5), (5, 5)), separable=True),
    "sep_7x7": partial(convolutions, kernels=((7, 7), (7, 7)), separable=True),
}


class FactorizedReduction(nn.Module):
    """Half the channels from even pixels, half from odd: (B, in, H, W) -> (B, out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        odd = F.pad(x[:, :, 1::2, 1::2], (0, x.shape[3] % 2, 0, x.shape[2] % 2))  # of five: pixels 1, 3 and a zero
        return self.norm(torch.cat((self.even(x[:, :, ::2, ::2]), self.odd(odd)), dim=1))


def fit(in_channels: int, out_channels: int, stride: int, padding: str, norm: Norm) -> nn.Module:
    """Bring an earlier state to the shape of a later one."""
    if stride == 2:
        return FactorizedReduction(in_channels, out_channels, norm)
    return identity(in_channels, out_channels, 1, padding, norm)


class ScheduledDropPath(DropPath):
    """Drop path whose rate grows in training; a buffer holds it, so that a new value recompiles nothing."""

    keep: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.register_buffer("keep", torch.tensor(1.0 - rate), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        mask = torch.rand((x.shape[0], 1, 1, 1), device=x.device) < self.keep
        return x * (mask / self.keep).to(x.dtype)


class Cell(nn.Module):
    """A table as a module: (h_i, h_i-1) -> (h_i+1, h_i), where h_i+1 has width x len(concat) channels.

    All that reads a cell's output starts with a ReLU, so the cell ends with it. States inside are not rectified: the
    convolutions that read the same one share its ReLU.

    Args:
        previous_stride: resolution of h_i-1 over that of h_i, 1 or 2; 0 takes h_i-1 as it is (first cell).
        skip: hand on h_i-1 in place of h_i.
    """

    def __init__(
        self, table: Table, in_channels: int, previous_channels: int, previous_stride: int, width: int, stride: int,
        skip: bool, drop_path: float, padding: str, norm: Norm,
    ) -> None:  # fmt: skip
        super().__init__()
        self.skip, self.concat = skip, tuple(table.concat)
        self.squeeze = convolutions(in_channels, width, 1, padding, norm)
        self.previous: nn.Module = nn.Identity()
        channels = [width, previous_channels] + [width] * len(table.rows)
        if previous_stride:
            self.previous = fit(previous_channels, width, previous_stride, padding, norm)
            channels[1] = width
        self.edges, self.reads = nn.ModuleList(), []
        for row, entries in enumerate(table.rows):
            for source, operation in (entries[:2], entries[2:]):
                if source not in range(row + 2):
                    raise ArchitectureError(f"arch.cells: row {row} reads state {source}; there are 0 to {row + 1}.")
                build = OPERATIONS[choose("cells", operation, tuple(OPERATIONS))]
                self.edges.append(build(channels[source], width, stride if source < 2 else 1, padding, norm))
                self.reads.append((source, operation))
        self.fit = nn.ModuleList(fit(channels[s], width, stride if s < 2 else 1, padding, norm) for s in self.concat)
        self.drop_path = ScheduledDropPath(drop_path)

    def edge(self, index: int, states: list[Tensor], rectified: dict[int, Tensor]) -> Tensor:
        edge, (source, operation) = self.edges[index], self.reads[index]
        x = states[source]
        if isinstance(edge, nn.Sequential):  # convolutions
            if source not in rectified:
                rectified[source] = F.relu(x)
            x = rectified[source]
        return edge(x) if operation == "identity" else self.drop_path(edge(x))

    def forward(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        current, previous = pair
        states = [self.squeeze(current), self.previous(previous)]
        rectified: dict[int, Tensor] = {}
        for index in range(0, len(self.edges), 2):
            states.append(self.edge(index, states, rectified) + self.edge(index + 1, states, rectified))
        out = torch.cat([fit(states[s]) for s, fit in zip(self.concat, self.fit, strict=True)], dim=1)
        return F.relu(out, inplace=True), previous if self.skip else current


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
        padding: "same" is TensorFlow's; "timm" counts the zeros in its stride-2 means; "symmetric" puts k // 2 around.
        drop_path: of the last cell at the end of training; cell i of n, from 1, has i / n of it. See `set_progress`.
        norm_eps, norm_momentum: of batch normalisation.
    """

    def __init__(
        self,
        cells: str | tuple[Table, Table] = "nasnet_a",
        repeats: int = 4,
        features: int = 1056,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        stem_channels: int = 32,
        skip_reduction: bool = False,
        aux_heads: bool = False,
        aux_size: int = 14,
        padding: str = "same",
        drop_path: float = 0.0,
        dropout: float = 0.0,
        norm_eps: float = 1e-3,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        normal, reduction = CELLS[choose("cells", cells, tuple(CELLS))] if isinstance(cells, str) else cells
        choose("padding", padding, ("same", "timm", "symmetric"))
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
        cell = partial(Cell, padding=padding, norm=norm)
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
        self.head = Classifier(channels, num_classes, dropout)
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
