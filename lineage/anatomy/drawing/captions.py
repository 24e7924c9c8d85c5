"""What a drawing tells of each stage under it, and which of equal blocks it draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lineage.anatomy import structure
from lineage.anatomy.drawing.page import width_of
from lineage.anatomy.graph import Node
from lineage.anatomy.table import Anatomy, Block

SHOWN = 3  # layers of a folded dense block


@dataclass(frozen=True)
class Group:
    """Equal blocks, of which the first `shown` are drawn."""

    row: int
    run: tuple[Block, ...]
    shown: int = 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.run[: self.shown]


@dataclass(frozen=True)
class Caption:
    """What stands under a stage: its name, the size of its output, its blocks as in the paper's table, how many."""

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
    """What equal blocks share; a concatenation grows, so its channels do not count."""
    facts = [
        (n.kind, n.kernel, n.stride, n.groups, n.side, None if n.kind == "concat" else n.channels, len(n.inputs) > 1)
        for n in block.nodes
        if not (n.kind == "concat" and n is block.nodes[0])  # the first layer of a dense block has nothing to join
    ]
    return (block.kind, *facts)


def is_dense(run: Sequence[Block]) -> bool:
    """Whether blocks read the outputs of several before them and join them, as in DenseNet."""
    return len(run) > 2 and all(block.nodes[0].kind == "concat" for block in run[1:])


def groups_of(anatomy: Anatomy, folded: bool) -> list[Group]:
    """The blocks in order, without auxiliary heads; if `folded`, equal neighbours together."""
    rows = [(i, block) for i, row in enumerate(anatomy.rows) if not row.auxiliary for block in row.blocks]
    groups = []
    for (row, _), members in groupby(rows, key=lambda pair: (pair[0], signature(pair[1]))):
        run = tuple(block for _, block in members)
        if folded and len(run) > 1 and sum(map(len, (block.nodes for block in run))) > len(run):
            groups.append(Group(row, run, min(SHOWN, len(run)) if is_dense(run) else 1))
        else:
            groups += [Group(row, (block,)) for block in run]
    return groups


def sections(anatomy: Anatomy, groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """What has a caption of its own: a stage; of DenseNet, the dense block and the transition."""
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


def size_of(node: Node, split: bool) -> tuple[str, ...]:
    if node.side == (1, 1):
        return (str(node.channels),)
    height, width = node.side
    return (f"{height}x{width}", f"x {node.channels}") if split else (f"{height}x{width}x{node.channels}",)


def caption(name: str, groups: Sequence[Group], level: int) -> Caption:
    """Levels of detail: 0 all; 1 the size in two lines; 2 the number of blocks, not their layers; 3 the size alone."""
    blocks = [block for group in groups for block in group.run]
    size = size_of(blocks[-1].nodes[-1], level > 0)
    units = [block for block in blocks if sum(node.has_weights for node in block.nodes) > 1]
    if not units:
        layers = [structure.with_channels(block.nodes[0]) for block in blocks if block.nodes[0].has_weights]
        equal = level < 2 and len(layers) > 1 and len(set(layers)) == 1
        return Caption(name, size, tuple(layers[:1]), len(layers)) if equal else Caption(name, size)
    if level > 2 or name == "stem":
        return Caption(name, size)
    last = units[-1].drawn
    if is_dense(units):
        growth, total = units[-1].nodes[-1].channels, blocks[-1].nodes[-1].channels
        size = (*size, f"{total - len(units) * growth} + {len(units)}x{growth}")
    if is_dense(units) and level > 1:
        return Caption(name, size)
    lines = structure.describe(last, structure.with_channels, "\n").split("\n")
    if units[-1].is_cell or structure.as_fork(last) or level > 1 or len(lines) > 5:
        number, word = (
            sum(unit.kind == units[-1].kind for unit in units),
            structure.BLOCK_NAMES.get(units[-1].kind, units[-1].kind),
        )
        return Caption(name, (*size, f"{number} {word.removesuffix('s') if number == 1 else word}"))
    same = [unit for unit in units if structure.describe(unit.drawn) == structure.describe(last)]
    return Caption(name, size, tuple(lines), len(same))
