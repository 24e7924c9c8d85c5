"""Searched cells drawn once, with the names of their operations, as in NASNet's paper (arXiv 1707.07012)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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


class Layout(NamedTuple):
    """A cell at full size."""

    columns: dict[int, int]  # of each state: 0 for the inputs, and 1 more than the last column that its block reads
    lanes: list[int]  # the states whose wires pass by a column, above the operations
    box: float  # width of an operation

    @property
    def last(self) -> int:
        return max(self.columns.values())

    @property
    def step(self) -> float:
        return self.box + 96

    @property
    def width(self) -> float:
        return START + self.last * self.step

    @property
    def rows(self) -> float:
        """Height of the operations."""
        numbers = list(self.columns.values())
        return 2 * STEP * max(numbers.count(number) for number in range(1, self.last + 1))

    @property
    def height(self) -> float:
        return LINE + LANE * len(self.lanes) + self.rows


def colours(operation: str) -> tuple[str, str]:
    """Of its box and its text."""
    if operation == "identity":
        return "#ffffff", INK
    kernel = operation[-3:] if "x" in operation[-3:-1] else f"{operation[-1]}x{operation[-1]}"
    return KERNELS.get(operation[:3]) or KERNELS[kernel]


def lay_out(table: Table) -> Layout:
    columns = dict.fromkeys(range(len(INPUTS)), 0)
    for state, block in enumerate(table.blocks, start=len(INPUTS)):
        columns[state] = 1 + max(columns[block.left], columns[block.right])
    reads = [(block.left, columns[state]) for state, block in enumerate(table.blocks, start=len(INPUTS))]
    reads += [(block.right, columns[state]) for state, block in enumerate(table.blocks, start=len(INPUTS))]
    reads += [(state, max(columns.values()) + 1) for state in table.concat]
    lanes = sorted({source for source, column in reads if column - columns[source] > 1}, reverse=True)
    names = [name for block in table.blocks for name in (block.left_operation, block.right_operation)]
    return Layout(columns, lanes, max(width_of(operation_text(name)) for name in names) + 16)


def paint_cells(page: Page, cells: Mapping[str, Table], top: float) -> float:
    """Paint the cells, side by side or one above the other, whichever is larger; returns the lower end."""
    layouts = [lay_out(table) for table in cells.values()]
    widths, heights = [layout.width for layout in layouts], [layout.height for layout in layouts]
    gaps = GAP * (len(layouts) - 1)
    row = min(1.0, (WIDTH - 2 * MARGIN) / (sum(widths) + gaps), MOST / max(heights))
    column = min(1.0, (WIDTH - 2 * MARGIN) / max(widths), MOST / (sum(heights) + gaps / 3))
    scale, x, y = max(row, column), MARGIN, top
    for (name, table), layout in zip(cells.items(), layouts, strict=True):
        paint_cell(page, name, table, layout, (x, y), scale)
        x, y = (x + scale * (layout.width + GAP), y) if row >= column else (x, y + scale * (layout.height + GAP / 3))
    return top + scale * (max(heights) if row >= column else sum(heights) + gaps / 3)


def paint_cell(page: Page, name: str, table: Table, layout: Layout, corner: Point, scale: float) -> None:
    """The two operations of a block stand one above the other, before the mark of their sum or concatenation."""
    box, over = layout.box, layout.height - layout.rows

    def at(x: float, y: float) -> Point:
        return corner[0] + scale * x, corner[1] + scale * (over + y)

    def write(text: str, x: float, y: float, **style: Any) -> None:
        page.write(text, *at(x, y), size=scale * FONT, **style)

    def path(*points: Point) -> None:
        """Curves that start and end level, and lines, in turn."""
        (x, y), *rest = points
        text = "M{:.1f} {:.1f}".format(*at(x, y))
        for k, (right, end) in enumerate(rest):
            middle = (x + right) / 2
            corners = [(middle, y), (middle, end), (right, end)] if k % 2 == 0 else [(right, end)]
            text += (" C" if k % 2 == 0 else " L") + " ".join("{:.1f} {:.1f}".format(*at(*point)) for point in corners)
            x, y = right, end
        page.path(text, SOFT)

    def wire(source: int, column: int, end: Point) -> None:
        x, y = places[source]
        if column - layout.columns[source] == 1:
            path((x, y), end)
        else:
            lane = -LANE * (layout.lanes.index(source) + 1)
            path((x, y), (x + TURN, lane), (end[0] - TURN, lane), end)

    places = place(layout)
    write(name, 0, FONT - over, bold=True)
    for state, text in enumerate(INPUTS):
        write(text, 0, places[state][1] + 8)
    for state, block in enumerate(table.blocks, start=len(INPUTS)):
        x, y = places[state]
        pair = ((block.left, block.left_operation, -0.5), (block.right, block.right_operation, 0.5))
        for source, operation, side in pair:
            middle, (fill, ink) = y + side * STEP, colours(operation)
            wire(source, layout.columns[state], (x - JOIN - box, middle))
            path((x - JOIN, middle), (x - 2 * MARK, y))
            page.rectangle((*at(x - JOIN - box, middle - BOX / 2), *at(x - JOIN, middle + BOX / 2)), fill, INK)
            write(operation_text(operation), x - JOIN - box / 2, middle + 8, anchor="middle", ink=ink)
        half = 10 if block.combination == "add" else 3
        paint_join(page, block.combination, (*at(x - MARK - half, y - 10), *at(x - MARK + half, y + 10)))
    end = layout.width - 20
    for state in table.concat:
        wire(state, layout.last + 1, (end, places[state][1]))
    page.rectangle((*at(end, 0), *at(end + 7, layout.rows)), "#444444")


def place(layout: Layout) -> dict[int, Point]:
    """The right end of each state's block, or of an input's name, from the left and upper end of the operations."""
    places = {state: (width_of(text) + 8, layout.rows * (1 + 2 * state) / 4) for state, text in enumerate(INPUTS)}
    for number in range(1, layout.last + 1):
        states = [state for state, column in layout.columns.items() if column == number]
        right, first = START + (number - 1) * layout.step + layout.box + JOIN, layout.rows / 2 - len(states) * STEP
        places |= {state: (right, first + (2 * i + 1) * STEP) for i, state in enumerate(states)}
    return places
