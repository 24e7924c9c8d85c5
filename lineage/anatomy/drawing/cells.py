"""Searched cells drawn once, with the names of their operations, as in NASNet's paper (arXiv 1707.07012)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from lineage.anatomy.drawing.key import KERNELS, paint_join
from lineage.anatomy.drawing.page import FONT, INK, LINE, MARGIN, SOFT, WIDTH, Page, Point, width_of
from lineage.anatomy.structure import operation_text
from lineage.archs.genotype import Table

BOX, STEP, GAP = 25.0, 29.0, 60.0  # height of an operation; distance of operations, and of cells side by side
LANE, TURN = 8.0, 40.0  # distance of wires above the operations; room of such a wire to rise or fall
MARK, JOIN = 6.0, 34.0  # from the right end of a block to the middle of its mark, and to its operations
MOST = 330.0  # height of all cells
INPUTS = ("h[i]", "h[i-1]")  # the outputs of the cell before, and of the one before that
START = width_of(INPUTS[1]) + 50  # where the first operations stand


class Layout:
    """A cell at full size, from the left and upper end of its operations.

    Attributes:
        columns: of each state: 0 for the inputs, and 1 more than the last column that its block reads.
        lanes: the states whose wires pass by a column, above the operations.
        places: the right end of each state's block, or of an input's name.
        box, end: width of an operation; where the output is.
        rows, height, width: of the operations; of all.
    """

    def __init__(self, table: Table) -> None:
        self.columns = columns = dict.fromkeys(range(len(INPUTS)), 0)
        blocks = list(enumerate(table.blocks, start=len(INPUTS)))
        for state, block in blocks:
            columns[state] = 1 + max(columns[block.left], columns[block.right])
        members = [[s for s in columns if columns[s] == number] for number in range(1, max(columns.values()) + 1)]
        reads = [(source, columns[state]) for state, block in blocks for source in (block.left, block.right)]
        reads += [(state, len(members) + 1) for state in table.concat]
        self.lanes = sorted({source for source, column in reads if column - columns[source] > 1}, reverse=True)
        names = [name for block in table.blocks for name in (block.left_operation, block.right_operation)]
        self.box = max(width_of(operation_text(name)) for name in names) + 16
        self.rows = 2 * STEP * max(map(len, members))
        self.height = LINE + LANE * len(self.lanes) + self.rows
        self.width = START + len(members) * (self.box + 96)
        self.end = self.width - 20
        self.places = {s: (width_of(text) + 8, self.rows * (1 + 2 * s) / 4) for s, text in enumerate(INPUTS)}
        for number, states in enumerate(members):
            right, first = START + number * (self.box + 96) + self.box + JOIN, self.rows / 2 - len(states) * STEP
            self.places |= {state: (right, first + (2 * i + 1) * STEP) for i, state in enumerate(states)}


def colours(operation: str) -> tuple[str, str]:
    """Of its box and its text."""
    if operation == "identity":
        return "#ffffff", INK
    kernel = operation[-3:] if "x" in operation[-3:-1] else f"{operation[-1]}x{operation[-1]}"
    return KERNELS.get(operation[:3]) or KERNELS[kernel]


def paint_cells(page: Page, cells: Mapping[str, Table], top: float) -> float:
    """Paint the cells, side by side or one above the other, whichever is larger; returns the lower end."""
    layouts = [Layout(table) for table in cells.values()]
    widths, heights = [layout.width for layout in layouts], [layout.height for layout in layouts]
    gaps = GAP * (len(layouts) - 1)
    row = min(1.0, (WIDTH - 2 * MARGIN) / (sum(widths) + gaps), MOST / max(heights))
    column = min(1.0, (WIDTH - 2 * MARGIN) / max(widths), MOST / (sum(heights) + gaps / 3))
    scale, x, y = max(row, column), MARGIN, top
    for (name, table), layout in zip(cells.items(), layouts, strict=True):
        paint_cell(page, (x, y + scale * (layout.height - layout.rows)), scale, name, table, layout)
        x, y = (x + scale * (layout.width + GAP), y) if row >= column else (x, y + scale * (layout.height + GAP / 3))
    return top + scale * (max(heights) if row >= column else sum(heights) + gaps / 3)


def paint_cell(page: Page, corner: Point, scale: float, name: str, table: Table, layout: Layout) -> None:
    """A cell to scale, whose operations begin at a corner, left and above. The two operations of a block stand one
    above the other, before the mark of their sum or concatenation."""
    places, box, end = layout.places, layout.box, layout.end

    def at(x: float, y: float) -> Point:
        return corner[0] + scale * x, corner[1] + scale * y

    def write(text: str, x: float, y: float, anchor: str = "start", **look: Any) -> None:
        page.write(text, *at(x, y), anchor, scale * FONT, **look)

    def wire(*points: Point) -> None:
        """From point to point, level at each."""
        path = "M{:.1f} {:.1f}".format(*at(*points[0]))
        for (x, y), (right, bottom) in pairwise(points):
            bends = [at(*bend) for bend in (((x + right) / 2, y), ((x + right) / 2, bottom), (right, bottom))]
            path += " C" + " ".join(f"{left:.1f} {top:.1f}" for left, top in bends)
        page.path(path, SOFT)

    def read(source: int, column: int, x: float, y: float) -> None:
        """The wire from a state to a column, where it ends at (x, y)."""
        passed = column - layout.columns[source] > 1
        lane = -LANE * (layout.lanes.index(source) + 1) if passed else 0
        start = places[source]
        wire(start, *[(start[0] + TURN, lane), (x - TURN, lane)] * passed, (x, y))

    write(name, 0, FONT - layout.height + layout.rows, bold=True)
    for state, text in enumerate(INPUTS):
        write(text, 0, places[state][1] + 8)
    for state, block in enumerate(table.blocks, start=len(INPUTS)):
        x, y = places[state]
        pair = ((block.left, block.left_operation, -0.5), (block.right, block.right_operation, 0.5))
        for source, operation, side in pair:
            middle, (fill, ink) = y + side * STEP, colours(operation)
            read(source, layout.columns[state], x - JOIN - box, middle)
            wire((x - JOIN, middle), (x - 2 * MARK, y))
            page.rectangle((*at(x - JOIN - box, middle - BOX / 2), *at(x - JOIN, middle + BOX / 2)), fill, INK)
            write(operation_text(operation), x - JOIN - box / 2, middle + 8, anchor="middle", ink=ink)
        half = 10 if block.combination == "add" else 3
        paint_join(page, block.combination, (*at(x - MARK - half, y - 10), *at(x - MARK + half, y + 10)))
    for state in table.concat:
        read(state, max(layout.columns.values()) + 1, end, places[state][1])
    page.rectangle((*at(end, 0), *at(end + 7, layout.rows)), "#444444")
