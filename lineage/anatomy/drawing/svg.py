"""A network on one page of a lecture: its layers to scale, their kernels in colour, captions, and a key."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

from lineage.anatomy.drawing import cells, key
from lineage.anatomy.drawing.labels import place_texts
from lineage.anatomy.drawing.layout import Band, Drawing, lay_out
from lineage.anatomy.drawing.page import FONT, HEIGHT, INK, LINE, MARGIN, SOFT, WIDTH, Box, Page, number, png, width_of
from lineage.anatomy.drawing.placing import Frame, Shape, Wire
from lineage.anatomy.graph import JOINS, Node
from lineage.anatomy.table import Anatomy, Block
from lineage.files import write_whole

TOP = 92.0  # below the title and the line under it


def write(anatomy: Anatomy, title: str, files: Sequence[Path]) -> None:
    """Draw a network into files, SVG or PNG by their suffix; their folders are made.

    Raises:
        UserError: a file cannot be written.
    """
    text = draw(anatomy, title).svg()
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode() if file.suffix == ".svg" else png(text), "choose output=PATH")


def summary(anatomy: Anatomy) -> str:
    return (
        f"{in_units(anatomy.parameters)} parameters \u00b7 {in_units(anatomy.macs)} multiply-adds \u00b7 "
        f"{anatomy.depth} layers \u00b7 receptive field {anatomy.field} pixels"
    )


def in_units(count: int) -> str:
    """Three digits and a unit: 25.6 M, 4.09 G."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            share = count / size
            return f"{share:.{2 if share < 10 else 1 if share < 100 else 0}f} {unit}"
    return str(count)


def draw(anatomy: Anatomy, title: str) -> Page:
    """The page. The cells of a searched network stand above the layers, each once."""
    page = Page(title)
    page.marks.append(key.STRIPES)
    page.write(title, MARGIN, 40, size=32, bold=True)
    page.write(summary(anatomy), MARGIN, 74, ink=SOFT)
    top = cells.paint_cells(page, anatomy.cells, TOP) + 16 if anatomy.cells else TOP
    rows = key.rows([node for block in anatomy.blocks for node in explained(block)])

    def floor_above(lines: int) -> float:
        return HEIGHT - len(rows) * key.ROW - 14 - lines * LINE - 10

    drawing = lay_out(anatomy, lambda lines: floor_above(lines) - top - 8)
    floor = floor_above(max(band.caption.lines for band in drawing.bands))
    axis = (top + floor) / 2 + (drawing.canvas.up - drawing.canvas.down) / 2
    drawing.move((WIDTH - drawing.canvas.width) / 2, axis)
    for place, band in enumerate(drawing.bands):
        paint_band(page, band, top - 2, floor, shaded=place % 2 == 1)
    paint(page, drawing, anatomy)
    place_texts(page, drawing, floor)
    for block in anatomy.blocks:
        if block.kind == "PartialConv":
            paint_links(page, drawing.by_node()[block.nodes[-1].index].box, floor)
    key.paint(page, rows, drawing.scale)
    return page


def explained(block: Block) -> list[Node]:
    """What the key explains of a block: what is drawn; of a searched cell also the layers that name its operations."""
    if not block.is_cell:
        return [*block.nodes]
    *inner, output = block.nodes
    named = [node for node in inner if node.kind in ("max", "avg", *JOINS) or node.kernel != (1, 1)]
    return [*(replace(node, groups=1, depthwise=False) for node in named if block.cell), output]


def paint_band(page: Page, band: Band, top: float, floor: float, shaded: bool) -> None:
    """The ground of a stage, and its caption below `floor`."""
    x, caption = band.x, band.caption
    if shaded:
        page.rectangle((x, top, x + band.width, floor + 6 + caption.lines * LINE), "#f1f3f6")
    middle, y = x + band.width / 2, floor + FONT
    page.write(caption.name, middle, y, "middle", bold=True)
    for line in caption.size:
        y += LINE
        page.write(line, middle, y, "middle")
    if not caption.count:
        return
    times = f"x{caption.count}"
    inner = max(map(width_of, caption.block))
    left = middle - (inner + 20 + width_of(times)) / 2 + 6
    first = y + LINE - FONT * 0.8
    for line in caption.block:
        y += LINE
        page.write(line, left + inner / 2, y, "middle")
    last = y + 6
    page.path(f"M{left - 2:.1f} {first:.1f} h-5 V{last:.1f} h5 M{left + inner + 2:.1f} {first:.1f} h5 V{last:.1f} h-5")
    page.write(times, left + inner + 12, (first + last) / 2 + 8)


def paint(page: Page, drawing: Drawing, anatomy: Anatomy) -> None:
    """Wires below slabs, joins above them, and frames on top."""
    for wire in drawing.items(Wire):
        paint_wire(page, wire)
    for slab in drawing.slabs:
        paint_slab(page, slab, anatomy, drawing)
    for shape in drawing.shapes:
        if not shape.maps:
            key.paint_join(page, shape.node.kind, shape.box)
    for frame in drawing.items(Frame):
        paint_frame(page, frame)


def paint_wire(page: Page, wire: Wire) -> None:
    (x0, y0), (x1, y1) = wire.points[0], wire.points[-1]
    if wire.style == "line":
        page.path("M" + " L".join(f"{number(x)} {number(y)}" for x, y in wire.points), SOFT)
    elif wire.style == "curve":
        middle = (x0 + x1) / 2
        page.path(f"M{x0:.1f} {y0:.1f} C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}", SOFT)
    else:
        y = wire.points[1][1]
        page.path(f"M{x0:.1f} {y0:.1f} C{x0:.1f} {y:.1f} {x1:.1f} {y:.1f} {x1:.1f} {y1:.1f}", SOFT, 1.0)


def paint_slab(page: Page, slab: Shape, anatomy: Anatomy, drawing: Drawing) -> None:
    node, (left, top, _, bottom) = slab.node, slab.box
    page.rectangle(slab.box, key.KERNELS[key.colour_class(node)][0], INK)
    stripes = "depthwise" if node.depthwise else "grouped" if node.groups > 1 else ""
    if stripes:
        page.rectangle(slab.box, f"url(#{stripes})")
    if node.kind == "concat":  # lines between what each of the layers before has added
        edges = list(map(drawing.scale.root, accumulate(anatomy.nodes[i].channels for i in node.inputs)))
        for edge, after in pairwise(edges):
            if edge is edges[0] or after - edge > 3:
                page.path(f"M{left + edge:.1f} {top:.1f} V{bottom:.1f}", "#ffffff", 1.0)


def paint_frame(page: Page, frame: Frame) -> None:
    x, y = frame.x, frame.y
    page.rectangle((x, y, x + frame.width, y + frame.height), ink=INK, rx="6", stroke_dasharray="5 4")
    if frame.drawn == 1:
        page.write(f"x{frame.count}", x + frame.width / 2, y - 6, "middle")
    else:  # above are arcs
        page.write(f"{frame.drawn} of {frame.count}", x + frame.width / 2, y + frame.height + 24, "middle")


def paint_links(page: Page, box: Box, floor: float) -> None:
    """Table I of LeNet-5's paper: which maps of S2, the rows, each map of C3 reads."""
    from lineage.archs.lenet import C3_INPUTS

    side, x, y = 7.0, (box[0] + box[2]) / 2 - 56, floor - 50
    for column, sources in enumerate(C3_INPUTS):
        for row in range(6):
            left, top = x + side * column, y + side * row
            page.rectangle((left, top, left + side, top + side), INK if row in sources else "#ffffff", SOFT, 0.6)
    text = f"{sum(map(len, C3_INPUTS))} of {6 * len(C3_INPUTS)} links"
    page.write(text, (box[0] + box[2]) / 2, y - 8, "middle")
