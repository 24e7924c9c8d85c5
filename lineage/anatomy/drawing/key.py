"""Colours of kernels, marks of joins, and the key of a drawing that explains them."""

from collections.abc import Sequence

from lineage.anatomy.drawing.page import INK, MARGIN, STYLE, WIDTH, Box, Page, width_of
from lineage.anatomy.drawing.placing import Scale
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import kernel_text

KERNELS: dict[str, tuple[str, str]] = {kind: (fill, ink) for kind, (fill, ink) in STYLE["kernels"].items()}
LAYERS: dict[str, str] = STYLE["layers"]
MARKS: dict[str, str] = STYLE["joins"]
STRIPES: str = STYLE["stripes"]
SCALE = "height: square root of resolution; width (of a vector, its height): of channels"
ROW, SWATCH = 32.0, 26.0
Entry = tuple[str, str]  # kind of swatch, text


def colour_class(node: Node) -> str:
    """Its key in KERNELS."""
    if node.kind != "conv":
        return node.kind
    short, long = sorted(node.kernel)
    if short != long:
        return "1x3" if long == 3 else "1x7"
    if long % 2 == 0:
        return "even"
    return f"{min(long, 7)}x{min(long, 7)}"


def rows(nodes: Sequence[Node]) -> list[list[Entry]]:
    """The entries that these nodes need, in rows that fit the page."""
    texts: dict[str, set[str]] = {}
    for node in nodes:
        if node.kind not in MARKS:
            text = kernel_text(node) if node.kind == "conv" else LAYERS.get(node.kind, node.kind)
            texts.setdefault(colour_class(node), set()).add(text)
    entries = [(kind, ", ".join(sorted(texts[kind]))) for kind in KERNELS if kind in texts]
    entries += [("depthwise", "depthwise")] * any(node.depthwise for node in nodes)
    entries += [("grouped", "in groups")] * any(node.groups > 1 and not node.depthwise for node in nodes)
    entries += [(kind, text) for kind, text in MARKS.items() if any(node.kind == kind for node in nodes)]
    found: list[list[Entry]] = [[]]
    for entry in entries:
        if sum(map(entry_width, found[-1])) + entry_width(entry) > WIDTH - 2 * MARGIN:
            found.append([])
        found[-1].append(entry)
    return [*found, [("scale", SCALE)]]


def entry_width(entry: Entry) -> float:
    return SWATCH + 8 + width_of(entry[1]) + 16


def paint(page: Page, rows: list[list[Entry]], scale: Scale) -> None:
    top = page.height - len(rows) * ROW - 8
    for number, row in enumerate(rows):
        x, y = MARGIN, top + number * ROW + ROW / 2
        for kind, text in row:
            if kind == "scale":
                page.write(text, x, y + 8)
                paint_scale(page, scale, x + width_of(text) + 16, y)
            else:
                paint_swatch(page, kind, (x, y - 9, x + SWATCH, y + 9))
                page.write(text, x + SWATCH + 8, y + 8)
                x += entry_width((kind, text))


def paint_scale(page: Page, scale: Scale, x: float, y: float) -> None:
    """Bars as wide as a slab of 16, 64, 256 and 1024 channels, as far as they fit."""
    for channels in (16, 64, 256, 1024):
        width = scale.root(channels)
        if x + width + width_of(str(channels)) + 8 > WIDTH - MARGIN / 2:
            return
        page.rectangle((x, y - 7, x + width, y + 7), INK)
        page.write(str(channels), x + width + 5, y + 8)
        x += width + width_of(str(channels)) + 20


def paint_swatch(page: Page, kind: str, box: Box) -> None:
    if kind in MARKS:
        middle, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        half = 3.0 if kind == "concat" else 9.0
        paint_join(page, kind, (middle - half, y - 9, middle + half, y + 9))
    elif kind in KERNELS:
        page.rectangle(box, KERNELS[kind][0], INK)
    else:
        page.rectangle(box, "#555555", INK)
        page.rectangle(box, f"url(#{kind})")


def paint_join(page: Page, kind: str, box: Box) -> None:
    """A sum as a circle with a plus, a gate as a circle with a cross, a concatenation as a bar."""
    if kind == "concat":
        page.rectangle(box, "#444444")
        return
    x, y, radius = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2
    page.circle(x, y, radius, "#ffffff" if kind == "add" else "#ffe28a")
    r = 0.6 * radius
    if kind == "add":
        lines = f"M{x - r:.1f} {y:.1f} h{2 * r:.1f} M{x:.1f} {y - r:.1f} v{2 * r:.1f}"
    else:
        lines = f"M{x - r:.1f} {y - r:.1f} l{2 * r:.1f} {2 * r:.1f} m0 {-2 * r:.1f} l{-2 * r:.1f} {2 * r:.1f}"
    page.path(lines, line=2)
