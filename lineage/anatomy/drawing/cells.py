"""A searched cell drawn once, with the names of its operations, as in NASNet's paper (arXiv 1707.07012)."""

from lineage.anatomy.drawing.key import KERNELS
from lineage.anatomy.drawing.page import FONT, INK, SOFT, Page, Point, width_of
from lineage.archs.cells import Table

BOX, STEP = 25.0, 29.0  # height of an operation; distance of operations
INPUTS = ("h[i]", "h[i-1]")  # the outputs of the cell before, and of the one before that


def text_of(operation: str) -> str:
    """sep_5x5 -> sep 5x5, avg_pool_3x3 -> avg 3x3."""
    return operation.replace("_pool", "").replace("_", " ")


def colours(operation: str) -> tuple[str, str]:
    """Of its box and its text."""
    kind, _, kernel = text_of(operation).partition(" ")
    return ("#ffffff", INK) if kind == "identity" else KERNELS[kind if kind in KERNELS else kernel.split()[0]]


def paint_cell(page: Page, name: str, table: Table, left: float, top: float) -> Point:
    """Paint a cell; returns its right and lower ends. The operations of a sum stand one above the other."""
    sums = {state: ((row[0], row[1]), (row[2], row[3])) for state, row in enumerate(table.rows, start=len(INPUTS))}
    level: dict[int, int] = {}
    for state, pair in sums.items():
        level[state] = 1 + max(level.get(source, 0) for source, _ in pair)
    column = max(width_of(text_of(operation)) for pair in sums.values() for _, operation in pair) + 16
    height = STEP * max(2 * list(level.values()).count(number) for number in level.values())
    page.write(name, left, top + FONT, bold=True)
    start, step = left + width_of("reduction cell") + 60, column + 96
    places: dict[int, Point] = {}
    for state, text in enumerate(INPUTS):
        y = top + height * (1 + 2 * state) / 4
        page.write(text, left, y + 8)
        places[state] = (left + width_of(text) + 8, y)
    wires: list[tuple[Point, Point]] = []
    boxes: list[tuple[str, float, float]] = []
    for number in range(1, max(level.values()) + 1):
        x = start + (number - 1) * step
        members = [state for state in sums if level[state] == number]
        first = top + (height - 2 * len(members) * STEP) / 2
        for i, state in enumerate(members):
            middle = first + (2 * i + 1) * STEP
            places[state] = (x + column + 34, middle)
            for k, (source, operation) in enumerate(sums[state]):
                y = middle + (k - 0.5) * STEP
                wires += [(places[source], (x, y)), ((x + column, y), (x + column + 22, middle))]
                boxes.append((operation, x, y))
    right = start + max(level.values()) * step - 20
    wires += [(places[state], (right, places[state][1])) for state in table.concat]
    for (x0, y0), (x1, y1) in wires:
        bend = (x1 - x0) / 2 if x1 - x0 < step else 40
        page.path(f"M{x0:.1f} {y0:.1f} C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}", SOFT)
    for operation, x, y in boxes:
        fill, ink = colours(operation)
        page.rectangle((x, y - BOX / 2, x + column, y + BOX / 2), fill, INK)
        page.write(text_of(operation), x + column / 2, y + 8, "middle", ink=ink)
    for state in sums:
        x, y = places[state]
        page.circle(x - 6, y, 10, "#ffffff")
        page.path(f"M{x - 12:.1f} {y:.1f} h12 M{x - 6:.1f} {y - 6:.1f} v12", line=2)
    page.rectangle((right, top, right + 7, top + height), "#444444")
    return right + 7, top + height
