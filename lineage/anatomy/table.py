"""A network as the table in its paper: a row per stage, with its layers, cost and receptive field."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from lineage.anatomy import structure
from lineage.anatomy.graph import Field, Node, Output, Pair
from lineage.anatomy.trace import Trace, trace
from lineage.archs.cells import Cell
from lineage.archs.genotype import Table as CellTable

# Children of the network whose own children are rows; of the last two, which timm's models have, only containers.
SPLIT = ("stages", "blocks", "layers")
CONTAINERS = ("Sequential", "Stage", "ModuleList", "Chain", "DenseBlock")  # modules that only hold blocks


@dataclass(frozen=True)
class Block:
    """A unit of a stage, such as a bottleneck, or a layer outside of any unit."""

    name: str  # of its module in the network
    kind: str  # the class of its module
    nodes: tuple[Node, ...]  # without those that compute gates
    cell: tuple[str, CellTable] | None = None  # of a searched cell: "normal cell" or "reduction cell", and its table

    @functools.cached_property
    def series(self) -> structure.Series | None:
        return structure.arrange(self.nodes)

    @property
    def is_cell(self) -> bool:
        """Whether it is a searched cell, or too entangled for forks and joins."""
        return self.cell is not None or self.series is None

    @property
    def drawn(self) -> structure.Series:
        """What the drawing shows of it: of a cell only the output, a concatenation of at least one state."""
        if self.cell and self.nodes[-1].kind != "concat":
            return [replace(self.nodes[-1], kind="concat", inputs=())]
        return self.series if self.series and not self.is_cell else [self.nodes[-1]]

    @property
    def title(self) -> str:
        """Its layers, as the paper's table prints them."""
        if self.cell:
            return structure.cell_title(*self.cell)
        if len(self.nodes) > 1:
            return structure.block_title(self.kind, self.nodes, self.series)
        return structure.layer_title(self.nodes[0], self.kind)


@dataclass(frozen=True)
class Row:
    """A stage. Parameters and multiply-adds are its own; depth and receptive field are counted from the image."""

    name: str
    operator: str
    input: Pair  # the map that it begins with
    side: Pair  # of the output
    channels: int
    depth: int  # layers with weights on the longest path
    parameters: int
    macs: int
    field: Field
    blocks: tuple[Block, ...]

    @property
    def auxiliary(self) -> bool:
        """Whether only training uses it. Multiply-adds, depth and receptive field then leave it out."""
        return self.side == (0, 0)

    @property
    def repeats(self) -> int:
        """Its blocks of several layers, a searched cell too."""
        return sum(len(block.nodes) > 1 for block in self.blocks)

    @property
    def field_text(self) -> str:
        """The receptive field in pixels, or "image" for all of it."""
        return "image" if self.field is None else str(max(window.size for window in self.field))


@dataclass(frozen=True)
class Anatomy:
    """A network at one resolution: the rows of its table, and the graph that they are made of."""

    network: str  # its class
    rows: tuple[Row, ...]
    nodes: tuple[Node, ...]

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def depth(self) -> int:
        return max(row.depth for row in self.rows)

    @property
    def field(self) -> int:
        """The largest receptive field before global pooling, in pixels."""
        return max(window.size for node in self.nodes if node.field and not node.auxiliary for window in node.field)

    @property
    def blocks(self) -> list[Block]:
        return [block for row in self.rows for block in row.blocks]

    @property
    def cells(self) -> dict[str, CellTable]:
        """Of NASNet, by "normal cell" and "reduction cell"."""
        return dict(block.cell for block in self.blocks if block.cell)


def dissect(network: nn.Module, channels: int, resolution: int) -> Anatomy:
    """Trace one image through the network and tabulate it: stem, each stage, what follows, head."""
    traced = trace(network, channels, resolution)
    modules = dict(network.named_modules())
    names = dict.fromkeys(row_name(name, modules) for name in [*traced.called, *modules])
    sizes = ((name.rpartition(".")[0], parameter.numel()) for name, parameter in network.named_parameters())
    parameters, macs = sum_by_row(sizes, modules), sum_by_row(traced.macs.items(), modules)
    rows: list[Row] = []
    for name in filter(None, names):
        blocks = tuple(find_blocks(name, traced, modules))
        if blocks or parameters[name]:
            number = sum(row.name.startswith("stage ") for row in rows) + 1
            title = f"stage {number}" if name.startswith("stages.") else name
            rows.append(make_row(name, title, blocks, parameters[name], macs[name], traced))
    if parameters[""] or (rows and macs[""]):  # such as the position embedding of a transformer
        rows.insert(0, make_row("", "network", (), parameters[""], macs[""], traced))
    return Anatomy(type(network).__name__, tuple(rows), tuple(traced.nodes))


def row_name(module: str, modules: dict[str, nn.Module]) -> str:
    """The row that a module belongs to: "stages.1", or a child of the network; "" for `stages` itself."""
    first, *rest = module.split(".")
    child = ".".join([first, *rest[:1]])
    if first not in SPLIT or (first != "stages" and type(modules[child]).__name__ not in CONTAINERS):
        return first
    return child if rest else ""


def sum_by_row(numbers: Iterable[tuple[str, int]], modules: dict[str, nn.Module]) -> Counter[str]:
    """Numbers by module, summed by row; those of the network itself are under ""."""
    counts = Counter[str]()
    for module, number in numbers:
        counts[row_name(module, modules)] += number
    return counts


def find_blocks(row: str, traced: Trace, modules: dict[str, nn.Module]) -> Iterator[Block]:
    """The nodes of a row by block, in order of execution."""
    nodes = [node for node in traced.nodes if node.owner and row_name(node.owner, modules) == row and not node.in_gate]
    for name, group in groupby(nodes, key=lambda node: block_name(node.owner, modules)):
        module, cell = modules[name], None
        if isinstance(module, Cell):
            cell = ("reduction cell" if module.reduces else "normal cell", module.table)
        yield Block(name, type(module).__name__, tuple(group), cell)


def block_name(owner: str, modules: dict[str, nn.Module]) -> str:
    """The outermost module between the row and `owner` that is not a container, or `owner` itself."""
    parts = owner.split(".")
    for length in range(row_name(owner, modules).count(".") + 2, len(parts)):
        name = ".".join(parts[:length])
        if type(modules[name]).__name__ not in CONTAINERS:
            return name
    return owner


def make_row(name: str, title: str, blocks: Sequence[Block], parameters: int, macs: int, traced: Trace) -> Row:
    operator = operator_text(blocks)
    if blocks and all(node.auxiliary for block in blocks for node in block.nodes):
        return Row(title, f"in training only: {operator}", (0, 0), (0, 0), 0, 0, parameters, 0, None, tuple(blocks))
    last: Node | Output = blocks[-1].nodes[-1] if blocks else traced.nodes[0]  # the image, of the network's parameters
    last = traced.outputs.get(name, last) if name else last
    operator = operator or ("normalisation" if name else "")
    first = traced.nodes[blocks[0].nodes[0].inputs[0]].side if blocks else last.side
    blocks = tuple(blocks)
    return Row(title, operator, first, last.side, last.channels, last.depth, parameters, macs, last.field, blocks)


def operator_text(blocks: Sequence[Block]) -> str:
    """What the blocks compute, equal neighbours together, a line each: "[1x1, 64; 3x3, 64; 1x1, 256] x 3"."""
    lines: list[str] = []
    differ = len({block.title for block in blocks}) > 1
    for _, members in groupby(blocks, key=lambda block: structure.as_fork(block.series) is not None):
        found = list(members)
        forks = [(block.name.split(".")[-1], fork) for block in found if (fork := structure.as_fork(block.series))]
        columns = structure.tabulate(forks) if forks and differ else None
        lines += columns or count_equal(found)
    return "\n".join(lines)


def count_equal(blocks: Sequence[Block]) -> list[str]:
    texts: list[str] = []
    for block in blocks:
        layer = block.nodes[0].kind if len(block.nodes) == 1 else ""
        if layer == "gate" and texts:
            texts[-1] += ", SE"
        elif layer != "concat":
            texts.append(block.title)
    grouped = [(text, len(list(group))) for text, group in groupby(texts)]
    return [text if count == 1 else f"{text} x {count}" for text, count in grouped]
