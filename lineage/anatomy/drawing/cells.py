"""A searched cell drawn once, with its operations in words, as in the figures of NASNet's paper (arXiv 1707.07012)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lineage.anatomy.drawing.page import FONT, INK, SOFT, Page, Point, width_of
from lineage.anatomy.drawing.style import KERNELS, colour_class
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import cell_name, kernel_text
from lineage.anatomy.table import Anatomy, Block

BOX, STEP = 25.0, 29.0  # height of an operation; from one to the next
INPUTS = ("h[i]", "h[i-1]")  # the outputs of the cell before, and of the one before that


@dataclass(frozen=True)
class Operation:
    """What is done to a state, `source`, before it is added to another."""

    source: int  # a node: a sum, or what the cell makes of its inputs
    layers: tuple[Node, ...]

    @property
    def main(self) -> Node | None:
        """The layer that it is named after; None: the identity."""
        return max(self.layers, key=lambda node: (node.kind in ("max", "avg"), node.kernel), default=None)

    @property
    def text(self) -> str:
        main = self.main
        if main is None:
            return "identity"
        word = main.kind if main.kind in ("max", "avg") else "sep" if main.depthwise else "conv"
        return f"{word} {kernel_text(main)}"


@dataclass(frozen=True)
class Cell:
    """The sums of a cell, each of two operations, in order; its two inputs; and the states that it hands on."""

    name: str
    sums: dict[int, tuple[Operation, ...]]
    inputs: dict[int, str]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]  # what is drawn: the layers that operations are named after, and the sums


def cells_of(anatomy: Anatomy) -> list[Cell]:
    """Every kind of cell, as its last one is."""
    found: dict[str, Cell] = {}
    last = 0
    for block in (block for row in anatomy.rows if not row.auxiliary for block in row.blocks):
        if block.kind == "Cell":
            found[cell_name(block.kind, block.nodes)] = read(block, last)
        last = block.nodes[-1].index
    return list(found.values())


def read(block: Block, last: int) -> Cell:
    """The cell's table from its graph; `last` is the output of the cell before."""
    own = {node.index: node for node in block.nodes}
    sums = [node for node in block.nodes if node.kind == "add"]
    readers = [i for node in block.nodes for i in node.inputs]

    def walk(index: int) -> Operation:
        layers: list[Node] = []
        while own[index].kind not in ("add", "concat") and readers.count(index) == 1 and own[index].inputs[0] in own:
            layers.insert(0, own[index])
            index = own[index].inputs[0]
        return Operation(index, tuple(layers))

    table = {node.index: tuple(map(walk, node.inputs)) for node in sums}
    states = dict.fromkeys(
        operation.source for row in table.values() for operation in row if operation.source not in table
    )
    inputs = {state: INPUTS[not leads(own, state, last)] for state in states}
    mains = [operation.main for row in table.values() for operation in row]
    drawn = [replace(node, groups=1, depthwise=False) for node in mains if node is not None]  # not striped: "sep"
    return Cell(cell_name(block.kind, block.nodes), table, inputs, block.nodes[-1].inputs, (*drawn, *sums))


def leads(own: dict[int, Node], index: int, last: int) -> bool:
    """Whether a state of the cell is made of the node `last`."""
    return index == last or (index in own and any(leads(own, i, last) for i in own[index].inputs))


def draw(page: Page, cell: Cell, left: float, top: float) -> Point:
    """Draw a cell; returns its right and lower ends. Operations that feed one sum stand one over the other."""
    level: dict[int, int] = {}
    for index, row in cell.sums.items():
        level[index] = 1 + max(level.get(operation.source, 0) for operation in row)
    column = max(width_of(operation.text) for row in cell.sums.values() for operation in row) + 16
    rows = max(2 * list(level.values()).count(number) for number in level.values())
    height = rows * STEP
    page.write(cell.name, left, top + FONT, bold=True)
    start, step = left + width_of("reduction cell") + 60, column + 96
    places: dict[int, Point] = {}
    for i, (state, name) in enumerate(sorted(cell.inputs.items(), key=lambda pair: pair[1], reverse=True)):
        y = top + height * (1 + 2 * i) / 4
        page.write(name, left, y + 8)
        places[state] = (left + width_of(name) + 8, y)
    wires: list[tuple[Point, Point]] = []
    boxes: list[tuple[Operation, float, float]] = []
    for number in range(1, max(level.values()) + 1):
        x = start + (number - 1) * step
        members = [index for index in cell.sums if level[index] == number]
        first = top + (height - 2 * len(members) * STEP) / 2
        for i, index in enumerate(members):
            middle = first + (2 * i + 1) * STEP
            places[index] = (x + column + 34, middle)
            for k, operation in enumerate(cell.sums[index]):
                y = middle + (k - 0.5) * STEP
                wires += [(places[operation.source], (x, y)), ((x + column, y), (x + column + 22, middle))]
                boxes.append((operation, x, y))
    right = start + max(level.values()) * step - 20
    for index in cell.outputs:
        wires.append((places[index], (right, places[index][1])))
    for (x0, y0), (x1, y1) in wires:
        bend = (x1 - x0) / 2 if x1 - x0 < step else 40
        page.path(f"M{x0:.1f} {y0:.1f} C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}", SOFT)
    for operation, x, y in boxes:
        fill, ink = KERNELS[colour_class(operation.main)] if operation.main is not None else ("#ffffff", INK)
        page.rectangle((x, y - BOX / 2, x + column, y + BOX / 2), fill, INK)
        page.write(operation.text, x + column / 2, y + 8, "middle", ink=ink)
    for index in cell.sums:
        x, y = places[index]
        page.circle(x - 6, y, 10, "#ffffff")
        page.path(f"M{x - 12:.1f} {y:.1f} h12 M{x - 6:.1f} {y - 6:.1f} v12", line=2)
    page.rectangle((right, top, right + 7, top + height), "#444444")
    return right + 7, top + height
