"""Texts on a drawing of a network: the papers' names of layers, kernels and channels, where there is room for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lineage.anatomy.drawing.layout import Drawing
from lineage.anatomy.drawing.page import FONT, INK, LINE, SOFT, Box, Page, overlap, width_of
from lineage.anatomy.drawing.placing import Joint, Slab, Wire
from lineage.anatomy.drawing.style import KERNELS, colour_class
from lineage.anatomy.structure import label


def ground(item: Slab | Joint, dx: float, dy: float) -> Box:
    x, y = item.x + dx, item.y + dy
    return x, y - item.height / 2, x + item.width, y + item.height / 2


def place_texts(page: Page, drawing: Drawing, dx: float, dy: float, floor: float) -> None:
    """The papers' names over layers, kernels and channels on or under them, each where nothing is in its way."""
    taken = [*page.texts, *(ground(item, dx, dy) for item in drawing.placed)]
    for wire in drawing.canvas.items:
        if isinstance(wire, Wire) and wire.style != "arc":
            points = [(x + dx, y + dy) for x, y in wire.points]
            taken += [(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1) for (a, b), (c, d) in pairs(points)]
    for text, x, y in drawing.notes:
        place(page, [(text, x + dx, y + dy, "start", False)], taken, floor)
    for item in drawing.placed:
        name = drawing.names.get(item.node.index)
        if name:
            left, top, right, bottom = ground(item, dx, dy)
            middle = (left + right) / 2
            ends = [(middle, "middle"), (right, "end"), (left - 4, "end")]
            heights = (top - 7, top - 7 - LINE)
            place(page, [(name, x, y, anchor, False) for y in heights for x, anchor in ends], taken, floor)
            if isinstance(item, Joint):
                text = str(item.node.channels)
                place(page, [(text, x, bottom + 24, anchor, False) for x, anchor in ends], taken, floor)
    for slab in (slab for slab in drawing.slabs if slab.node.index in drawing.labelled):
        frames = [frame.y + frame.height + dy for frame in drawing.frames if frame.x <= slab.x < frame.x + frame.width]
        box = ground(slab, dx, dy)
        place(page, spots_of(slab, box, max([box[3], *frames])), taken, floor, box, slab)


def paint_links(page: Page, box: Box, floor: float) -> None:
    """Table I of LeNet-5's paper: which maps of S2, the rows, a map of C3 reads."""
    from lineage.archs.lenet import C3_INPUTS

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
