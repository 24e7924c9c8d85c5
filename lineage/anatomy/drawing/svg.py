"""A network on one page of a lecture: its layers to scale, their kernels in colour, captions, and a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from lineage.anatomy.drawing import cells, key
from lineage.anatomy.drawing.labels import ground, paint_links, pairs, place_texts
from lineage.anatomy.drawing.layout import MARGIN, Band, Drawing, lay_out
from lineage.anatomy.drawing.page import FONT, HEIGHT, INK, LINE, SOFT, WIDTH, Box, Page, png, width_of
from lineage.anatomy.drawing.placing import Slab, Wire
from lineage.anatomy.drawing.style import KERNELS, colour_class
from lineage.anatomy.graph import Node
from lineage.anatomy.table import Anatomy

TOP = 92.0  # under the title and the line beneath it


def write(anatomy: Anatomy, title: str, files: Sequence[Path]) -> None:
    """Draw a network into files, SVG or PNG by their suffix; their folders are made."""
    text = draw(anatomy, title).svg()
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if file.suffix == ".svg" else png(text))


def summary(anatomy: Anatomy) -> str:
    return (
        f"{count(anatomy.parameters)} parameters \u00b7 {count(anatomy.macs)} multiply-adds \u00b7 "
        f"{anatomy.depth} layers \u00b7 receptive field {anatomy.field} pixels"
    )


def count(number: int) -> str:
    """Three digits and a unit: 25.6 M, 4.09 G."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            share = number / size
            return f"{share:.{2 if share < 10 else 1 if share < 100 else 0}f} {unit}"
    return str(number)


def draw(anatomy: Anatomy, title: str) -> Page:
    """The page. Above the stack of layers stand the cells of a searched network, each once."""
    page = Page(title)
    page.marks += key.PATTERNS
    page.write(title, MARGIN, 40, size=32, bold=True)
    page.write(summary(anatomy), MARGIN, 74, ink=SOFT)
    top, left = TOP, MARGIN
    found = cells.cells_of(anatomy)
    for cell in found:
        right, bottom = cells.draw(page, cell, left, TOP)
        left, top = right + 60, max(top, bottom + 16)
    rows = key.rows([*drawn(anatomy), *(node for cell in found for node in cell.nodes)])

    def under(lines: int) -> float:
        return HEIGHT - len(rows) * key.ROW - 14 - lines * LINE - 10

    drawing = lay_out(anatomy, lambda lines: under(lines) - top - 8)
    floor = under(max(band.caption.lines for band in drawing.bands))
    dx = (WIDTH - drawing.canvas.width) / 2
    middle = (top + floor) / 2 + (drawing.canvas.up - drawing.canvas.down) / 2
    for number, band in enumerate(drawing.bands):
        paint_band(page, band, dx, top - 2, floor, shaded=number % 2 == 1)
    paint(page, drawing, anatomy, dx, middle)
    place_texts(page, drawing, dx, middle, floor)
    for block in (block for row in anatomy.rows for block in row.blocks if block.kind == "PartialConv"):
        paint_links(page, ground(drawing.at()[block.nodes[-1].index], dx, middle), floor)
    key.paint(page, rows, drawing.scale)
    return page


def drawn(anatomy: Anatomy) -> Iterator[Node]:
    """The layers that have a slab; of cells the last one."""
    for block in (block for row in anatomy.rows for block in row.blocks):
        yield from block.nodes[-1:] if block.is_cell else block.nodes


def paint_band(page: Page, band: Band, dx: float, top: float, floor: float, shaded: bool) -> None:
    """The ground of a stage and its caption."""
    x, words = band.x + dx, band.caption
    if shaded:
        page.rectangle((x, top, x + band.width, floor + 6 + words.lines * LINE), "#f1f3f6")
    middle, y = x + band.width / 2, floor + FONT
    page.write(words.name, middle, y, "middle", bold=True)
    for line in words.size:
        y += LINE
        page.write(line, middle, y, "middle")
    if not words.count:
        for line in words.block:
            y += LINE
            page.write(line, middle, y, "middle", ink=SOFT)
        return
    times = f"x{words.count}"
    inner = max(map(width_of, words.block))
    left = middle - (inner + 20 + width_of(times)) / 2 + 6
    first = y + LINE - FONT * 0.8
    for line in words.block:
        y += LINE
        page.write(line, left + inner / 2, y, "middle")
    last = y + 6
    page.path(f"M{left - 2:.1f} {first:.1f} h-5 V{last:.1f} h5 M{left + inner + 2:.1f} {first:.1f} h5 V{last:.1f} h-5")
    page.write(times, left + inner + 12, (first + last) / 2 + 8)


def paint(page: Page, drawing: Drawing, anatomy: Anatomy, dx: float, dy: float) -> None:
    """Wires under slabs and joints, and frames around them."""
    items = drawing.canvas.items
    for wire in [item for item in items if isinstance(item, Wire)]:
        paint_wire(page, wire, dx, dy)
    for slab in drawing.slabs:
        paint_slab(page, slab, ground(slab, dx, dy), anatomy, drawing)
    for joint in drawing.joints:
        key.paint_joint(page, joint.node.kind, ground(joint, dx, dy))
    for frame in drawing.frames:
        x, y = frame.x + dx, frame.y + dy
        page.rectangle((x, y, x + frame.width, y + frame.height), ink=INK, rx="6", stroke_dasharray="5 4")
        if frame.shown == 1:
            page.write(f"x{frame.count}", x + frame.width / 2, y - 6, "middle")
        else:  # under arcs
            page.write(f"{frame.shown} of {frame.count}", x + frame.width / 2, y + frame.height + 24, "middle")


def paint_wire(page: Page, wire: Wire, dx: float, dy: float) -> None:
    points = [(x + dx, y + dy) for x, y in wire.points]
    (x0, y0), (x1, y1) = points[0], points[-1]
    if wire.style == "line":
        page.polyline(points)
    elif wire.style == "curve":
        middle = (x0 + x1) / 2
        page.path(f"M{x0:.1f} {y0:.1f} C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}", SOFT)
    else:
        y = points[1][1]
        page.path(f"M{x0:.1f} {y0:.1f} C{x0:.1f} {y:.1f} {x1:.1f} {y:.1f} {x1:.1f} {y1:.1f}", SOFT, 1.0)


def paint_slab(page: Page, slab: Slab, box: Box, anatomy: Anatomy, drawing: Drawing) -> None:
    node = slab.node
    page.rectangle(box, KERNELS[colour_class(node)][0], INK)
    stripes = "depthwise" if node.depthwise else "grouped" if node.groups > 1 else ""
    if stripes:
        page.rectangle(box, f"url(#{stripes})")
    if node.kind == "concat":  # what each of the layers before has added
        shares = list(accumulate(anatomy.nodes[i].channels for i in node.inputs))
        edges = [drawing.scale.root(share) for share in shares]
        for x in (box[0] + edge for edge, after in pairs(edges) if edge is edges[0] or after - edge > 3):
            page.path(f"M{x:.1f} {box[1]:.1f} V{box[3]:.1f}", "#ffffff", 1.0)
