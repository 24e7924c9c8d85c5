"""The cell of NASNet (Zoph et al. 2017), arXiv 1707.07012, section 3.1, made from a table.

A cell combines the outputs of the two cells before it. Each block of its table makes a state: two earlier states, each
under one of the operations in archs/operations.py, are added or concatenated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.blocks import DropPath
from lineage.archs.genotype import Table
from lineage.archs.network import Stage
from lineage.archs.operations import Norm, convolutions, fit

State = tuple[Tensor, Tensor]  # a map in a cell, and its ReLU, which all convolutions that read the map share


class Inputs(NamedTuple):
    """What a cell reads."""

    channels: int  # of h_i
    previous_channels: int  # of h_i-1
    previous_stride: int  # the side of h_i-1 over that of h_i, 1 or 2; 0 in the first cell, which takes h_i-1 as it is


class Size(NamedTuple):
    """The states that a cell makes."""

    width: int  # channels of an operation's output; a concatenation of two has twice as many
    stride: int  # 2 in a reduction cell


class CellShared(NamedTuple):
    """What the cells of a network share."""

    norm: Norm
    operations: Mapping[str, Callable[..., nn.Module]]


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


class Edge(nn.Module):
    """A state under an operation, which drop path may leave out: (B, C, H, W) -> (B, width, H/stride, W/stride)."""

    def __init__(self, source: int, operation: nn.Module, drop_path: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.convolves = isinstance(operation, nn.Sequential)
        self.operation, self.drop_path = operation, drop_path

    def forward(self, states: Sequence[State]) -> Tensor:
        x, rectified = states[self.source]
        return self.drop_path(self.operation(rectified if self.convolves else x))


class Cell(nn.Module):
    """A table as a module: h_i and h_i-1 -> h_i+1, of `out_channels` channels.

    Whatever reads a cell's output starts with a ReLU, so the cell ends with one. States inside are not rectified.
    """

    def __init__(self, table: Table, inputs: Inputs, size: Size, parts: CellShared, drop_path: float) -> None:
        super().__init__()
        width = size.width
        self.table, self.reduces = table, size.stride == 2
        self.squeeze = convolutions(inputs.channels, width, 1, parts.norm)
        self.previous: nn.Module = nn.Identity()
        self.drop_path = ScheduledDropPath(drop_path)
        made = [width * (2 if block.combination == "concat" else 1) for block in table.blocks]
        channels = [width, inputs.previous_channels, *made]
        if inputs.previous_stride:
            self.previous = fit(inputs.previous_channels, width, inputs.previous_stride, parts.norm)
            channels[1] = width
        strides = [size.stride, size.stride] + [1] * len(made)  # the two inputs alone are larger than the output

        def edge(source: int, name: str) -> Edge:
            operation = parts.operations[name](channels[source], width, strides[source], parts.norm)
            return Edge(source, operation, nn.Identity() if name == "identity" else self.drop_path)

        pairs = [(edge(b.left, b.left_operation), edge(b.right, b.right_operation)) for b in table.blocks]
        self.combine = nn.ModuleList(nn.ModuleDict({"left": left, "right": right}) for left, right in pairs)
        self.convolved = {edge.source for pair in pairs for edge in pair if edge.convolves}
        shown = [width, width, *made]  # channels of the states in the output
        self.fit = nn.ModuleList(fit(channels[s], shown[s], strides[s], parts.norm) for s in table.concat)
        self.out_channels = sum(shown[s] for s in table.concat)

    def forward(self, current: Tensor, previous: Tensor) -> Tensor:
        states = [self.state(0, self.squeeze(current)), self.state(1, self.previous(previous))]
        for block, edges in zip(self.table.blocks, self.combine, strict=True):
            pair = edges["left"](states), edges["right"](states)  # type: ignore[index]
            x = torch.cat(pair, dim=1) if block.combination == "concat" else pair[0] + pair[1]
            states.append(self.state(len(states), x))
        out = torch.cat([fit(states[s][0]) for s, fit in zip(self.table.concat, self.fit, strict=True)], dim=1)
        return F.relu(out, inplace=True)

    def state(self, index: int, x: Tensor) -> State:
        return x, F.relu(x) if index in self.convolved else x


class CellStage(Stage):
    """Cells in a row, each on the outputs of the two before it; returns those of the last two.

    `skip`: the second cell reads as h_i-1 that of the first, a reduction, and not the first one's h_i.
    """

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.skip = skip

    def grow(
        self, sizes: Sequence[Size], inputs: Inputs, tables: tuple[Table, Table], parts: CellShared,
        drop_paths: Iterator[float],
    ) -> Inputs:  # fmt: skip
        """Append a cell for each size; returns what the cell after them reads."""
        normal, reduction = tables
        for size in sizes:
            cell = Cell(reduction if size.stride == 2 else normal, inputs, size, parts, next(drop_paths))
            self.append(cell)
            read_next = inputs.previous_channels if self.skip and len(self) == 1 else inputs.channels
            inputs = Inputs(cell.out_channels, read_next, size.stride)
        return inputs

    def forward(self, current: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        for index, cell in enumerate(self):
            read_next = previous if self.skip and index == 0 else current
            current, previous = self.run(cell, current, previous), read_next
        return current, previous
