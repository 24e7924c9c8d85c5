"""A searched cell drawn once, with the names of its operations, as in NASNet's paper (arXiv 1707.07012)."""

from dataclasses import dataclass, replace

from lineage.anatomy.drawing.key import KERNELS, colour_class
from lineage.anatomy.drawing.page import FONT, INK, SOFT, Page, Point, width_of
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import cell_name, kernel_text
from lineage.anatomy.table import Anatomy, Block

BOX, STEP = 25.0, 29.0  # height of an operation; distance of operations
INPUTS = ("h[i]", "h[i-1]")  # the outputs of the cell before, and of the one before that


@dataclass(frozen=True)
class Operation:
    """What is applied to a state, the node `source`, before it is added to another."""

    source: int
    main: Node | None  # the layer that names it; None: the identity

    @property
    def text(self) -> str:
        if self.main is None:
            return "identity"
        word = self.main.kind if self.main.kind in ("max", "avg") else "sep" if self.main.depthwise else "conv"
        return f"{word} {kernel_text(self.main)}"


@dataclass(frozen=True)
class Cell:
    """A searched cell; its states are nodes, by their indices."""

    name: str
    sums: dict[int, tuple[Operation, ...]]  # the operations that are added in each state, in order
    inputs: dict[int, str]  # the names of the two input states
    outputs: tuple[int, ...]  # the states that are concatenated
    nodes: tuple[Node, ...]  # what the key explains: the layers that name operations, and the sums


def find_cells(anatomy: Anatomy) -> list[Cell]:
    """The last cell of each kind."""
    found, before = dict[str, Cell](), 0
    for block in (block for row in anatomy.rows if not row.auxiliary for block in row.blocks):
        if block.kind == "Cell":
            cell = read_cell(block, before)
            found[cell.name] = cell
        before = block.nodes[-1].index
    return list(found.values())


def read_cell(block: Block, before: int) -> Cell:
    """The cell's table from its graph; `before` is the output of the cell before."""
    own = {node.index: node for node in block.nodes}
    sums = [node for node in block.nodes if node.kind == "add"]
    reads = [i for node in block.nodes for i in node.inputs]

    def operation(index: int) -> Operation:
        layers: list[Node] = []
        while own[index].kind not in ("add", "concat") and reads.count(index) == 1 and own[index].inputs[0] in own:
            layers.insert(0, own[index])
            index = own[index].inputs[0]
        return Operation(index, max(layers, key=lambda node: (node.kind in ("max", "avg"), node.kernel), default=None))

    table = {node.index: tuple(map(operation, node.inputs)) for node in sums}
    operations = [one for row in table.values() for one in row]
    states = dict.fromkeys(one.source for one in operations if one.source not in table)
    inputs = {state: INPUTS[not depends_on(own, state, before)] for state in states}
    mains = [replace(one.main, groups=1, depthwise=False) for one in operations if one.main]  # "sep" needs no stripes
    name = cell_name(block.kind, block.nodes)
    return Cell(name, table, inputs, block.nodes[-1].inputs, (*mains, *sums))


def depends_on(own: dict[int, Node], index: int, source: int) -> bool:
    return index == source or (index in own and any(depends_on(own, i, source) for i in own[index].inputs))


def paint_cell(page: Page, cell: Cell, left: float, top: float) -> Point:
    """Paint a cell; returns its right and lower ends. The operations of a sum stand one above the other."""
    level: dict[int, int] = {}
    for index, row in cell.sums.items():
        level[index] = 1 + max(level.get(operation.source, 0) for operation in row)
    column = max(width_of(operation.text) for row in cell.sums.values() for operation in row) + 16
    height = STEP * max(2 * list(level.values()).count(number) for number in level.values())
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
    wires += [(places[index], (right, places[index][1])) for index in cell.outputs]
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
