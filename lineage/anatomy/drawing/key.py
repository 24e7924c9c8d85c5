"""The key of a drawing: colours by kernel, marks, and the scale."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.anatomy.drawing.layout import MARGIN
from lineage.anatomy.drawing.page import INK, WIDTH, Box, Page, width_of
from lineage.anatomy.drawing.placing import Scale
from lineage.anatomy.drawing.style import KERNELS, colour_class, entry
from lineage.anatomy.graph import Node

ROW, SWATCH = 32.0, 26.0
PATTERNS = [
    '<defs><pattern id="depthwise" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="3" height="7" fill="#ffffff"/></pattern>'
    '<pattern id="grouped" width="7" height="7" patternUnits="userSpaceOnUse">'
    '<rect width="2" height="7" fill="#ffffff"/></pattern></defs>'
]
MARKS = {"add": "sum", "gate": "squeeze-and-excitation", "concat": "concatenation"}
SCALE = "height: resolution; width (of a vector, its height): square root of channels"
Entry = tuple[str, str]  # kind of swatch, text


def rows(nodes: Sequence[Node]) -> list[list[Entry]]:
    """What is to be told of these layers, in rows that fit the page."""
    words: dict[str, list[str]] = {}
    for node in nodes:
        if node.kind not in MARKS:
            texts = words.setdefault(colour_class(node), [])
            texts += [entry(node)] if entry(node) not in texts else []
    entries = [(kind, ", ".join(sorted(words[kind]))) for kind in KERNELS if kind in words]
    entries += [("depthwise", "depthwise")] * any(node.depthwise for node in nodes)
    entries += [("grouped", "in groups")] * any(node.groups > 1 and not node.depthwise for node in nodes)
    entries += [(kind, text) for kind, text in MARKS.items() if any(node.kind == kind for node in nodes)]
    found: list[list[Entry]] = [[]]
    for item in entries:
        if sum(map(length, found[-1])) + length(item) > WIDTH - 2 * MARGIN:
            found.append([])
        found[-1].append(item)
    return [*found, [("scale", SCALE)]]


def length(item: Entry) -> float:
    return SWATCH + 8 + width_of(item[1]) + 16


def paint(page: Page, rows: list[list[Entry]], scale: Scale) -> None:
    top = page.height - len(rows) * ROW - 8
    for number, row in enumerate(rows):
        x, y = MARGIN, top + number * ROW + ROW / 2
        for kind, text in row:
            if kind == "scale":
                page.write(text, x, y + 8)
                x += width_of(text) + 16
                paint_scale(page, scale, x, y)
            else:
                swatch(page, kind, (x, y - 9, x + SWATCH, y + 9))
                page.write(text, x + SWATCH + 8, y + 8)
                x += length((kind, text))


def paint_scale(page: Page, scale: Scale, x: float, y: float) -> None:
    """Bars of so many channels."""
    for channels in (16, 64, 256, 1024):
        width = scale.root(channels)
        if x + width + width_of(str(channels)) + 8 > WIDTH - MARGIN / 2:
            return
        page.rectangle((x, y - 7, x + width, y + 7), INK)
        page.write(str(channels), x + width + 5, y + 8)
        x += width + width_of(str(channels)) + 20


def swatch(page: Page, kind: str, box: Box) -> None:
    if kind in MARKS:
        middle, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        half = 3.0 if kind == "concat" else 9.0
        paint_joint(page, kind, (middle - half, y - 9, middle + half, y + 9))
    elif kind in KERNELS:
        page.rectangle(box, KERNELS[kind][0], INK)
    else:
        page.rectangle(box, "#555555", INK)
        page.rectangle(box, f"url(#{kind})")


def paint_joint(page: Page, kind: str, box: Box) -> None:
    """A circle with a plus, of a sum, or with a cross, of a gate; a bar, of a concatenation."""
    if kind == "concat":
        page.rectangle(box, "#444444")
        return
    x, y, radius = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2
    page.circle(x, y, radius, "#ffffff" if kind == "add" else "#ffe28a")
    r = 0.6 * radius
    if kind == "add":
        page.path(f"M{x - r:.1f} {y:.1f} h{2 * r:.1f} M{x:.1f} {y - r:.1f} v{2 * r:.1f}", line=2)
    else:
        page.path(
            f"M{x - r:.1f} {y - r:.1f} l{2 * r:.1f} {2 * r:.1f} m0 {-2 * r:.1f} l{-2 * r:.1f} {2 * r:.1f}", line=2
        )
