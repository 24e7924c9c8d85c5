"""A network on one page of a lecture: its layers to scale, their kernels in colour, captions, and a key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from anatomy import cells, key
from anatomy.layout import FRAME, MARGIN, Band, Drawing, lay_out
from anatomy.page import FONT, HEIGHT, INK, LINE, SOFT, WIDTH, Box, Page, overlap, png, width_of
from anatomy.placing import Frame, Joint, Slab, Wire
from anatomy.structure import label
from anatomy.style import KERNELS, colour_class
from anatomy.table import Anatomy
from anatomy.trace import Node

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
    for frame in [item for item in items if isinstance(item, Frame)]:
        x, y = frame.x + dx, frame.y + dy
        page.rectangle((x, y, x + frame.width, y + frame.height), ink=INK, rx="6", stroke_dasharray="5 4")
        text, over = (f"x{frame.count}", y - 6) if frame.shown == 1 else (f"{frame.shown} of {frame.count}", y + frame.height + 24)
        page.write(text, x + frame.width / 2, over, "middle")


def ground(item: Slab | Joint, dx: float, dy: float) -> Box:
    x, y = item.x + dx, item.y + dy
    return x, y - item.height / 2, x + item.width, y + item.height / 2


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


def place_texts(page: Page, drawing: Drawing, dx: float, dy: float, floor: float) -> None:
    """The papers' names over layers, kernels and channels on or under them, each where nothing is in its way."""
    taken = [*page.texts, *(ground(item, dx, dy) for item in (*drawing.slabs, *drawing.joints))]
    for wire in drawing.canvas.items:
        if isinstance(wire, Wire) and wire.style != "arc":
            points = [(x + dx, y + dy) for x, y in wire.points]
            taken += [(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1) for (a, b), (c, d) in pairs(points)]
    for text, x, y in drawing.notes:
        place(page, [(text, x + dx, y + dy, "start", False)], taken, floor)
    for item in (*drawing.slabs, *drawing.joints):
        name = drawing.names.get(item.node.index)
        if name:
            left, top, right, bottom = ground(item, dx, dy)
            middle = (left + right) / 2
            ends = [(middle, "middle"), (right, "end")]
            heights = (top - 7, top - 7 - LINE)
            place(page, [(name, x, y, anchor, False) for y in heights for x, anchor in ends], taken, floor)
            if isinstance(item, Joint):
                text = str(item.node.channels)
                place(page, [(text, x, bottom + 24, anchor, False) for x, anchor in ends], taken, floor)
    frames = [item for item in drawing.canvas.items if isinstance(item, Frame)]
    for slab in (slab for slab in drawing.slabs if slab.node.index in drawing.labelled):
        ends = [frame.y + frame.height + dy for frame in frames if frame.x <= slab.x < frame.x + frame.width]
        box = ground(slab, dx, dy)
        place(page, spots_of(slab, box, max([box[3], *ends])), taken, floor, box, slab)


def paint_links(page: Page, box: Box, floor: float) -> None:
    """Table I of LeNet-5's paper: which maps of S2, the rows, a map of C3 reads."""
    from archs.lenet import C3_INPUTS

    side, x, y = 7.0, (box[0] + box[2]) / 2 - 56, floor - 50
    for column, sources in enumerate(C3_INPUTS):
        for row in range(6):
            left, top = x + side * column, y + side * row
            page.rectangle((left, top, left + side, top + side), INK if row in sources else "#ffffff", SOFT, 0.6)
    text = f"{sum(map(len, C3_INPUTS))} of {6 * len(C3_INPUTS)} links"
    page.write(text, (box[0] + box[2]) / 2, y - 8, "middle")


Spot = tuple[str, float, float, str, bool]  # text, x, y, which end of it is there, whether it is turned


def spots_of(slab: Slab, box: Box, end: float) -> Iterator[Spot]:
    """Where the kernel and the channels of a layer may stand, the best first: turned or level, on it or under `end`."""
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    for text in texts_of(slab):
        length = width_of(text)
        if right - left >= 0.9 * FONT and bottom - top >= length + 8:
            yield text, x + 0.26 * FONT, y + length / 2, "start", True
        if right - left >= length + 6 and bottom - top >= FONT + 2:
            yield text, x, y + 0.26 * FONT, "middle", False
        if right - left + 30 >= length:
            yield text, x, end + 0.9 * FONT, "middle", False
        yield text, x + 0.26 * FONT, end + 6 + length, "start", True


def texts_of(slab: Slab) -> list[str]:
    node = slab.node
    if node.kind == "conv":
        return [f"{label(node)}, {slab.maps}", str(slab.maps)]
    if node.kind in ("max", "avg"):
        return [label(node)]
    return ["RBF"] if node.kind == "other" else [str(slab.maps)]


def place(
    page: Page, spots: Iterable[Spot], taken: list[Box], floor: float, own: Box | None = None, slab: Slab | None = None
) -> None:
    for text, x, y, anchor, turned in spots:
        box = page.box_of(text, x, y, anchor, FONT, turned)
        near = (box[0] - 2, box[1], box[2] + 2, box[3])
        inside = own is not None and own[1] < box[1] and box[3] < own[3]
        blocked = not inside and any(overlap(near, other) for other in taken)
        if blocked or box[3] > floor or (inside and slab is not None and slab.node.groups > 1):
            continue
        ink = KERNELS[colour_class(slab.node)][1] if inside and slab is not None else INK
        page.write(text, x, y, anchor, turned=turned, ink=ink)
        taken.append(box)
        return


def pairs(points: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(points, points[1:], strict=False)
