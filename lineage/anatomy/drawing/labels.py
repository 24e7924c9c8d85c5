"""Texts in a drawing of a network: the papers' names of layers, kernels and channels, wherever there is room."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from lineage.anatomy.drawing.key import KERNELS, colour_class
from lineage.anatomy.drawing.layout import Drawing
from lineage.anatomy.drawing.page import FONT, INK, LINE, Page, overlap, width_of
from lineage.anatomy.drawing.placing import Frame, Shape, Wire
from lineage.anatomy.structure import label

Spot = tuple[str, float, float, str, bool]  # text, x, y, the anchor that is at (x, y), whether it is turned


def place_texts(page: Page, drawing: Drawing, floor: float) -> None:
    """The papers' names above layers, kernels and channels on or below them, down to `floor`, without overlaps."""
    taken = [*page.texts, *(shape.box for shape in drawing.shapes)]
    for wire in drawing.items(Wire):
        for (a, b), (c, d) in pairwise(wire.points if wire.style != "arc" else ()):
            taken.append((min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1))

    def place(spots: Iterable[Spot], slab: Shape | None = None) -> None:
        """Write at the first spot that is free, if any; a text about a slab may also stand on it."""
        for text, x, y, anchor, turned in spots:
            box = left, top, right, bottom = page.box_of(text, x, y, anchor, FONT, turned)
            on = slab if slab and slab.box[1] < top and bottom < slab.box[3] else None
            blocked = on.node.groups > 1 if on else any(overlap((left - 2, top, right + 2, bottom), o) for o in taken)
            if not blocked and bottom <= floor:
                page.write(text, x, y, anchor, turned=turned, ink=KERNELS[colour_class(on.node)][1] if on else INK)
                taken.append(box)
                return

    for text, x, y in drawing.notes:
        place([(text, x, y, "start", False)])
    for shape in (shape for shape in drawing.shapes if shape.node.index in drawing.names):
        left, top, right, bottom = shape.box
        ends, name = (
            [((left + right) / 2, "middle"), (right, "end"), (left - 4, "end")],
            drawing.names[shape.node.index],
        )
        place([(name, x, y, anchor, False) for y in (top - 7, top - 7 - LINE) for x, anchor in ends])
        if not shape.maps:
            place([(str(shape.node.channels), x, bottom + 24, anchor, False) for x, anchor in ends])
    for slab in (slab for slab in drawing.slabs if slab.node.index in drawing.labelled):
        frames = [frame.y + frame.height for frame in drawing.items(Frame) if frame.x <= slab.x < frame.x + frame.width]
        place(spots_of_slab(slab, max([slab.box[3], *frames])), slab)


def spots_of_slab(slab: Shape, end: float) -> Iterator[Spot]:
    """Where kernel and channels of a layer may stand, the best first: turned or level, on it or below `end`."""
    left, top, right, bottom = slab.box
    x, y = (left + right) / 2, (top + bottom) / 2
    for text in slab_texts(slab):
        length = width_of(text)
        if right - left >= 0.9 * FONT and bottom - top >= length + 8:
            yield text, x + 0.26 * FONT, y + length / 2, "start", True
        if right - left >= length + 6 and bottom - top >= FONT + 2:
            yield text, x, y + 0.26 * FONT, "middle", False
        if right - left + 30 >= length:
            yield text, x, end + 0.9 * FONT, "middle", False
        yield text, x + 0.26 * FONT, end + 6 + length, "start", True


def slab_texts(slab: Shape) -> list[str]:
    """Texts for a layer, the most informative first."""
    node = slab.node
    if node.kind == "conv":
        return [f"{label(node)}, {slab.maps}", str(slab.maps)]
    if node.kind in ("max", "avg"):
        return [label(node)]
    return ["RBF"] if node.kind == "other" else [str(slab.maps)]
