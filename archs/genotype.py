"""The search space of NASNet (Zoph et al. 2017), arXiv 1707.07012, section 3.1, and a pair of its cells as a word.

A cell has B blocks, each of five decisions: two hidden states, an operation on each, and how the two are combined. A
pair of cells is written as one word, which needs no quotes in a command:

    0sep5+1sep3_2max3.0identity-0avg3+1conv1x7_1sep3+2dil3

There "-" is between the normal cell and the reduction cell, "_" between blocks, "+" adds and "." concatenates. State 0
is h_i, the last cell's output, state 1 is h_i-1, the one before; block b, from 0, makes state b + 2. The states that no
block reads, of the two inputs too as in TF-slim, are concatenated as the cell's output, unless an item of states alone
at the end of the cell, 3.4.5, says which.
Imports no torch.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from lineage.archs.arguments import ArchitectureError
from lineage.text import nearest

OPERATIONS = (  # in the paper's order; archs/operations.py builds them
    "identity",
    "conv1x3",  # then 3x1
    "conv1x7",  # then 7x1
    "dil3",  # dilated convolution
    "avg3",
    "max3",
    "max5",
    "max7",
    "conv1",
    "conv3",
    "sep3",  # depthwise-separable convolution
    "sep5",
    "sep7",
)
COMBINATIONS = {"+": "add", ".": "concat"}
KINDS = ("normal", "reduction")
CELLS = {  # NASNet-A, Figure 4, concatenates states that are read, too: h_i-1, and state 3 of the reduction cell
    "nasnet_a": "0sep5+1sep3_1sep5+1sep3_0avg3+1identity_1avg3+1avg3_0sep3+0identity_1.2.3.4.5.6-"
    "0sep5+1sep7_0max3+1sep7_0avg3+1sep5_3identity+2avg3_2sep3+0max3_3.4.5.6",
}
BLOCK = re.compile(r"(\d{1,2})([a-z]\w*)([+.])(\d{1,2})([a-z]\w*)", re.ASCII)
OUTPUT = re.compile(r"\d{1,2}(\.\d{1,2})*", re.ASCII)
EXAMPLE = "0sep5+1sep3-0max3+1sep7"


class Block(NamedTuple):
    """Two earlier states, each under an operation, added or concatenated."""

    left: int
    left_operation: str
    right: int
    right_operation: str
    combination: str = "add"


class Table(NamedTuple):
    """A cell: its blocks, and the states whose concatenation is its output."""

    blocks: Sequence[Block]
    concat: Sequence[int]


def options(blocks: int) -> list[tuple[str, ...]]:
    """The options of the 10 x `blocks` decisions of a pair of cells, in the order in which the paper predicts them.

    They are those of the normal cell, then of the reduction cell; for each block two states, two operations, and the
    combination.
    """
    decisions = []
    for number in range(blocks):
        states = tuple(map(str, range(number + 2)))
        decisions += [states, states, OPERATIONS, OPERATIONS, tuple(COMBINATIONS.values())]
    return decisions * len(KINDS)


def word(values: Sequence[str]) -> str:
    """The word of a pair of cells from a value of each decision, in the order of `options`."""
    signs = {name: sign for sign, name in COMBINATIONS.items()}
    blocks = []
    for i in range(0, len(values), 5):
        left, right, on_left, on_right, combination = values[i : i + 5]
        blocks.append(f"{left}{on_left}{signs[combination]}{right}{on_right}")
    half = len(blocks) // 2
    return "_".join(blocks[:half]) + "-" + "_".join(blocks[half:])


def parse(word: str) -> tuple[Table, Table]:
    """The normal and the reduction cell of a word, or of a name in CELLS.

    Raises:
        ArchitectureError: it is neither; the message names the wrong block.
    """
    cells = CELLS.get(word, word).split("-")
    if len(cells) != len(KINDS):
        kinds = f"{', '.join(CELLS)}, two cells as {EXAMPLE}, or the folder of a search"
        raise ArchitectureError(f"arch.cells={word}: it is {kinds}.{nearest(word, CELLS)}")
    normal, reduction = (_parse_cell(text, kind) for text, kind in zip(cells, KINDS, strict=True))
    return normal, reduction


def _parse_cell(text: str, kind: str) -> Table:
    items = text.split("_")
    output = items.pop() if len(items) > 1 and OUTPUT.fullmatch(items[-1]) else ""
    blocks = [_parse_block(item, number, f"arch.cells: {item} in the {kind} cell") for number, item in enumerate(items)]
    read = {state for block in blocks for state in (block.left, block.right)}
    states = range(len(blocks) + 2)
    concat = tuple(map(int, output.split("."))) if output else tuple(s for s in states if s not in read)
    if missing := [state for state in concat if state not in states]:
        raise ArchitectureError(f"arch.cells: {output} in the {kind} cell: state {missing[0]} is above {states[-1]}.")
    return Table(tuple(blocks), concat)


def _parse_block(item: str, number: int, place: str) -> Block:
    found = BLOCK.fullmatch(item)
    if found is None:
        raise ArchitectureError(f"{place}: block {number + 1} is two states with their operations, as 0sep5+1sep3.")
    left, on_left, sign, right, on_right = found.groups()
    for state in (left, right):
        if int(state) > number + 1:
            raise ArchitectureError(f"{place}: block {number + 1} reads states 0 to {number + 1}, not {state}.")
    for operation in (on_left, on_right):
        if operation not in OPERATIONS:
            raise ArchitectureError(f"{place}: {operation} is not an operation.{nearest(operation, OPERATIONS)}")
    return Block(int(left), on_left, int(right), on_right, COMBINATIONS[sign])
