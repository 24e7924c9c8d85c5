"""A network as a table of its paper: a row a stage, with what it computes, costs and sees."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from lineage.anatomy.drawing import structure
from lineage.anatomy.trace import Field, Node, Output, Trace, trace

SPLIT = ("stages", "blocks", "layers")  # children of these are rows; of the last two, timm's, if they hold blocks
WIDEST = 44  # letters of the columns of Inception modules
CONTAINERS = ("Sequential", "Stage", "ModuleList", "Chain", "DenseBlock")  # they hold blocks and are none


@dataclass(frozen=True)
class Block:
    """A unit of a stage, such as a bottleneck; or, outside of one, a layer."""

    name: str  # of its module in the network
    kind: str  # the class of its module
    nodes: tuple[Node, ...]  # but for those that compute gates

    @functools.cached_property
    def series(self) -> structure.Series:
        return structure.arrange(self.nodes)

    @property
    def is_cell(self) -> bool:
        """Whether no order of forks and joins describes it, or it is a searched cell."""
        return self.kind == "Cell" or structure.has_tangle(self.series)

    @property
    def drawn(self) -> structure.Series:
        """What the drawing shows of it: of a cell the output only."""
        return [self.nodes[-1]] if self.is_cell else self.series


@dataclass(frozen=True)
class Row:
    """A stage; costs are its own, depth and field are counted from the image."""

    name: str
    operator: str
    side: tuple[int, int]  # height and width of the output
    channels: int
    depth: int  # layers with weights on the longest path so far
    parameters: int
    macs: int  # multiply-adds
    field: Field
    blocks: tuple[Block, ...]

    @property
    def auxiliary(self) -> bool:
        """Whether it answers in training only; it is then left out of multiply-adds, depth and receptive field."""
        return self.side == (0, 0)

    @property
    def sees(self) -> str:
        """The receptive field as text: pixels of the image."""
        return "image" if self.field is None else str(max(window.size for window in self.field))


@dataclass(frozen=True)
class Anatomy:
    """A network at one resolution: its rows, in order, and the graph that they are made of."""

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


def dissect(network: nn.Module, channels: int, resolution: int) -> Anatomy:
    """Trace one image through the network and tabulate it: stem, each stage, what follows, head."""
    record = trace(network, channels, resolution)
    modules = dict(network.named_modules())
    found = dict.fromkeys(row_name(name, modules) for name in [*record.called, *modules] if name)
    names = [name for name in found if name]
    counted = count_parameters(network, modules)
    rows: list[Row] = []
    for name in names:
        blocks = tuple(find_blocks(name, record, modules))
        macs = sum(macs for module, macs in record.macs.items() if row_name(module, modules) == name)
        parameters = counted.get(name, 0)
        if blocks or parameters:
            number = sum(row.name.startswith("stage ") for row in rows) + 1
            title = f"stage {number}" if name.startswith("stages.") else name
            rows.append(make_row(name, title, blocks, parameters, round(macs), record))
    direct = counted.get("", 0)  # such as the position embedding of a transformer
    if direct or (rows and record.macs.get("")):
        rows.insert(0, make_row("", "network", (), direct, round(record.macs.get("", 0)), record))
    return Anatomy(type(network).__name__, tuple(rows), tuple(record.nodes))


def row_name(module: str, modules: dict[str, nn.Module]) -> str:
    """The row that a module belongs to: `stages.1`, or a child of the network."""
    first, *rest = module.split(".")
    child = ".".join([first, *rest[:1]])
    if first not in SPLIT or (first != "stages" and type(modules[child]).__name__ not in CONTAINERS):
        return first
    return child if rest else ""


def count_parameters(network: nn.Module, modules: dict[str, nn.Module]) -> dict[str, int]:
    """By row; a parameter that several modules share counts once."""
    counted: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        row = row_name(name, modules) if "." in name else ""
        counted[row] = counted.get(row, 0) + parameter.numel()
    return counted


def find_blocks(row: str, record: Trace, modules: dict[str, nn.Module]) -> Iterable[Block]:
    """The drawn nodes of a row by block, in order of execution."""
    nodes = [node for node in record.nodes if node.owner and row_name(node.owner, modules) == row and not node.in_gate]
    for name, group in groupby(nodes, key=lambda node: block_name(node.owner, modules)):
        yield Block(name, type(modules[name]).__name__, tuple(group))


def block_name(owner: str, modules: dict[str, nn.Module]) -> str:
    """The first module between the row and `owner` that is no container; `owner` itself if there is none."""
    parts = owner.split(".")
    for length in range(row_name(owner, modules).count(".") + 2, len(parts)):
        name = ".".join(parts[:length])
        if type(modules[name]).__name__ not in CONTAINERS:
            return name
    return owner


def make_row(name: str, title: str, blocks: Sequence[Block], parameters: int, macs: int, record: Trace) -> Row:
    last = blocks[-1].nodes[-1] if blocks else None
    if blocks and all(node.auxiliary for block in blocks for node in block.nodes):
        return Row(title, "in training only: " + words(blocks), (0, 0), 0, 0, parameters, 0, None, tuple(blocks))
    output = record.outputs.get(name)
    if output is None:
        assert last is not None
        output = Output(last.channels, last.side, last.field, last.depth)
    operator = words(blocks) or ("normalisation" if name else "")
    return Row(
        title, operator, output.side, output.channels, output.depth, parameters, macs, output.field, tuple(blocks)
    )  # fmt: skip


def words(blocks: Sequence[Block]) -> str:
    """What the blocks do, equal neighbours together: "[1x1, 64; 3x3, 64; 1x1, 256] x 3", a line each."""
    lines: list[str] = []
    for is_fork, members in groupby(blocks, key=lambda block: structure.as_fork(block.series) is not None):
        found = list(members)
        modules = [(short_name(block), fork) for block in found if (fork := structure.as_fork(block.series))]
        columns = structure.tabulate(modules, WIDEST) if is_fork and len(set(map(name_whole, blocks))) > 1 else None
        lines += columns or count_equal(found)
    return "\n".join(lines)


def short_name(block: Block) -> str:
    return block.name.split(".")[-1]


def name_whole(block: Block) -> str:
    """A block, or a layer of its own, in words."""
    if len(block.nodes) > 1:
        return structure.name_block(block.kind, block.nodes, block.series)
    return structure.name_alone(block.nodes[0], block.kind)


def count_equal(blocks: Sequence[Block]) -> list[str]:
    texts: list[str] = []
    for block in blocks:
        alone = block.nodes[0] if len(block.nodes) == 1 else None
        if alone is not None and alone.kind == "gate" and texts:
            texts[-1] += ", SE"
        elif alone is None or alone.kind != "concat":
            texts.append(name_whole(block))
    grouped = [(text, len(list(group))) for text, group in groupby(texts)]
    return [text if count == 1 else f"{text} x {count}" for text, count in grouped]
