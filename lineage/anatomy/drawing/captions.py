"""The captions under a drawing's stages, and which of equal blocks are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lineage.anatomy import structure
from lineage.anatomy.drawing.page import width_of
from lineage.anatomy.graph import Node
from lineage.anatomy.table import Anatomy, Block

DRAWN = 3  # drawn layers of a folded dense block


@dataclass(frozen=True)
class Group:
    """Equal blocks in a run, of which the first `drawn` are drawn; `row` is the index of their stage."""

    row: int
    run: tuple[Block, ...]
    drawn: int = 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.run[: self.drawn]


@dataclass(frozen=True)
class Caption:
    """Under a stage: its name, the size of its output, and its blocks as in the paper's table with their number."""

    name: str
    size: tuple[str, ...]
    block: tuple[str, ...] = ()
    count: int = 0

    @property
    def width(self) -> float:
        plain = max(map(width_of, (self.name, *self.size)))
        if not self.count:
            return plain
        return max(plain, max(map(width_of, self.block), default=0.0) + 20 + width_of(f"\u00d7{self.count}"))

    @property
    def lines(self) -> int:
        return 1 + len(self.size) + len(self.block)


def signature(block: Block) -> tuple:
    """Equal for blocks that are drawn alike. The channels of concatenations, which grow, do not count."""
    nodes = [
        (n.kind, n.kernel, n.stride, n.groups, n.side, None if n.kind == "concat" else n.channels, len(n.inputs) > 1)
        for n in block.nodes
        if not (n.kind == "concat" and n is block.nodes[0])  # the first layer of a dense block has nothing to join
    ]
    return (block.kind, *nodes)


def is_dense(run: Sequence[Block]) -> bool:
    """Whether the blocks concatenate the outputs of several before them, as in DenseNet."""
    return len(run) > 2 and all(block.nodes[0].kind == "concat" for block in run[1:])


def group_blocks(anatomy: Anatomy) -> list[Group]:
    """The blocks in order, without auxiliary heads; equal neighbours of several layers are a group."""
    rows = [(i, block) for i, row in enumerate(anatomy.rows) if not row.auxiliary for block in row.blocks]
    groups = []
    for (row, _), members in groupby(rows, key=lambda pair: (pair[0], signature(pair[1]))):
        run = tuple(block for _, block in members)
        if len(run) > 1 and any(len(block.nodes) > 1 for block in run):
            groups.append(Group(row, run, min(DRAWN, len(run)) if is_dense(run) else 1))
        else:
            groups += [Group(row, (block,)) for block in run]
    return groups


def sections(anatomy: Anatomy, groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """What has a caption of its own: a stage; in DenseNet, a dense block or a transition."""
    found, number = list[tuple[str, list[Group]]](), 0
    for row, members in groupby(groups, key=lambda group: group.row):
        stage = list(members)
        dense = [group for group in stage if group.blocks[0].kind == "DenseLayer" or is_dense(group.run)]
        if not dense:
            found.append((anatomy.rows[row].name, stage))
            continue
        number += 1
        first, last = stage.index(dense[0]), stage.index(dense[-1]) + 1
        last += any(group.blocks[0].nodes[0].kind == "concat" for group in stage[last : last + 1])
        parts = (("transition", stage[:first]), (f"block {number}", stage[first:last]), ("transition", stage[last:]))
        found += [(name, part) for name, part in parts if part]
    return found


def size_text(node: Node, two_lines: bool) -> tuple[str, ...]:
    if node.side == (1, 1):
        return (str(node.channels),)
    height, width = node.side
    return (f"{height}x{width}", f"x {node.channels}") if two_lines else (f"{height}x{width}x{node.channels}",)


def caption(name: str, groups: Sequence[Group], level: int) -> Caption:
    """A caption that gets narrower with `level`.

    Args:
        level: 0 for everything; 1: the size in two lines; 2: the number of blocks without their layers; 3: only the
            size.
    """
    blocks = [block for group in groups for block in group.run]
    size = size_text(blocks[-1].nodes[-1], level > 0)
    units = [block for block in blocks if sum(node.has_weights for node in block.nodes) > 1]
    if not units:
        layers = [structure.with_channels(block.nodes[0]) for block in blocks if block.nodes[0].has_weights]
        equal = level < 2 and len(layers) > 1 and len(set(layers)) == 1
        return Caption(name, size, tuple(layers[:1]), len(layers)) if equal else Caption(name, size)
    if level > 2 or name == "stem":
        return Caption(name, size)
    last = units[-1]
    if is_dense(units):
        growth, total = last.nodes[-1].channels, blocks[-1].nodes[-1].channels
        size = (*size, f"{total - len(units) * growth} + {len(units)}x{growth}")
        if level > 1:
            return Caption(name, size)
    lines = structure.describe(last.drawn, structure.with_channels, "\n").split("\n")
    if last.is_cell or structure.as_fork(last.drawn) or level > 1 or len(lines) > 5:
        number = sum(unit.kind == last.kind for unit in units)
        plural = structure.BLOCK_NAMES.get(last.kind, last.kind)
        return Caption(name, (*size, f"{number} {plural.removesuffix('s') if number == 1 else plural}"))
    equal_units = [unit for unit in units if structure.describe(unit.drawn) == structure.describe(last.drawn)]
    return Caption(name, size, tuple(lines), len(equal_units))
