"""Render the layout of a network as SVG and PNG. Matplotlib is imported when something is drawn."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from anatomy.geometry import RADIUS, WIDTH, Drawing, Joint, Slab
from anatomy.layout import lay_out
from anatomy.style import GREY, HUES, INK, KINDS, blend, cross, cut, kind_of, paint, rectangle, style, trail
from anatomy.table import Anatomy

PIXELS = 1600  # width of a PNG of 12 inches
TITLE, FOOT, SIDE = 0.55, 1.06, 0.12  # inches over, under and beside the network
FONT, LETTER = "DejaVu Sans", 0.061  # inches a letter takes at 8 points


def write(anatomy: Anatomy, title: str, files: list[Path]) -> None:
    """Draw a network into files, SVG or PNG by their suffix; their folders are made."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    render(lay_out(anatomy), title, summary(anatomy), files)


def digest(anatomy: Anatomy, title: str) -> str:
    """What an SVG of the network carries as its description: changes when the drawing does, not with matplotlib."""
    return fingerprint(lay_out(anatomy), title, summary(anatomy))


def fingerprint(drawing: Drawing, *texts: str) -> str:
    looks = [str(style(kind, hue)) for kind in KINDS for hue in HUES]
    return drawing.digest(*texts, *looks)


def summary(anatomy: Anatomy) -> str:
    return (
        f"{count(anatomy.parameters)} parameters    {count(anatomy.macs)} multiply-adds    "
        f"{anatomy.depth} layers deep    receptive field {anatomy.field} pixels"
    )


def count(number: int) -> str:
    """Three digits and a unit: 25.6 M, 4.09 G."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            share = number / size
            return f"{share:.{2 if share < 10 else 1 if share < 100 else 0}f} {unit}"
    return str(number)


def render(drawing: Drawing, title: str, subtitle: str, files: list[Path]) -> None:
    """Draw into files, by their suffix; the same bytes each time with the same matplotlib."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    zoom, mark = drawing.zoom, fingerprint(drawing, title, subtitle)
    width, height = drawing.width + 2 * SIDE, drawing.up + drawing.down + (TITLE + FOOT) * zoom
    with matplotlib.rc_context({"svg.hashsalt": "lineage", "svg.fonttype": "none", "font.family": FONT}):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-SIDE, drawing.width + SIDE)
        axes.set_ylim(-drawing.down - FOOT * zoom, drawing.up + TITLE * zoom)
        axes.set_axis_off()
        paint_bands(axes, drawing)
        arcs = [wire.style == "arc" for wire in drawing.wires]
        thin = [path for wire, arc in zip(drawing.wires, arcs, strict=True) if arc for path in trail(wire)]
        thick = [path for wire, arc in zip(drawing.wires, arcs, strict=True) if not arc for path in trail(wire)]
        paint(axes, thin, facecolor="none", edgecolor="#888888", linewidth=0.45)
        paint(axes, thick, facecolor="none", edgecolor="#666666")
        paint_slabs(axes, drawing)
        paint_joints(axes, drawing.joints)
        paint_repeats(axes, drawing)
        top = drawing.up + TITLE * zoom
        write_text(axes, 0, top - 0.1 * zoom, title, fontsize=13 * zoom, fontweight="bold", va="top")
        write_text(axes, drawing.width, top - 0.14 * zoom, subtitle, fontsize=9 * zoom, va="top", ha="right")
        paint_legend(axes, drawing)
        for file in files:
            if file.suffix == ".svg":
                figure.savefig(file, metadata={"Date": None, "Title": title, "Description": mark})
                file.write_text(compact(file.read_text()))
            else:
                figure.savefig(file, dpi=PIXELS / max(width, WIDTH))
                shrink(file)


def compact(svg: str) -> str:
    """Coordinates to a hundredth of a point, and a font of equal width where DejaVu is not installed."""
    svg = svg.replace(f"'{FONT}'", f"'{FONT}', Verdana, sans-serif")
    return re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match.group()):.2f}".rstrip("0").rstrip("."), svg)


def shrink(file: Path) -> None:
    """256 colours are enough, and a third of the bytes."""
    from PIL import Image

    with Image.open(file) as image:
        small = image.convert("RGB").quantize(256)
    small.save(file, optimize=True)


def write_text(axes: Any, x: float, y: float, text: str, **options: Any) -> None:
    axes.text(x, y, re.sub(r"(?<![a-z])x(?![a-z])", "\u00d7", text), **{"color": INK, "va": "center"} | options)


def hue_of(drawing: Drawing, row: int) -> str:
    names = {band.row: band.name for band in drawing.bands}
    if names.get(row) in (None, "image", "head"):
        return HUES[0]
    return HUES[(list(names).index(row) - 1) % len(HUES)]


def paint_bands(axes: Any, drawing: Drawing) -> None:
    zoom, bottom, height = drawing.zoom, -drawing.down - 0.06, drawing.up + drawing.down + 0.12
    for band in drawing.bands:
        hue = hue_of(drawing, band.row)
        ground = (band.x, bottom + height / 2, band.width, height)
        paint(axes, [rectangle(ground)], facecolor=blend(hue, "#ffffff", 0.9), linewidth=0)
        middle, under = band.x + band.width / 2, {"ha": "center", "va": "top", "fontsize": 8 * zoom}
        name = under | {"fontsize": 8.5 * zoom, "fontweight": "bold", "color": blend(hue, "#000000", 0.35)}
        write_text(axes, middle, bottom - 0.03 * zoom, band.name, **name)
        last = band is drawing.bands[-1] and "\n" not in band.caption
        caption = f"{band.caption}\nclasses" if last else band.caption
        write_text(axes, middle, bottom - 0.18 * zoom, caption, linespacing=1.15, **under)
        if LETTER * zoom * len(band.content) < band.width:
            write_text(axes, middle, bottom - 0.46 * zoom, band.content, **under)


def paint_slabs(axes: Any, drawing: Drawing) -> None:
    groups: dict[tuple[str, str], list[Slab]] = defaultdict(list)
    for slab in drawing.slabs:
        groups[kind_of(slab.node), hue_of(drawing, slab.row)].append(slab)
    for (kind, hue), slabs in groups.items():
        boxes = [(slab.x, slab.y, slab.width, slab.height) for slab in slabs]
        paint(axes, [rectangle(box) for box in boxes], **style(kind, hue))
        stripes = [path for slab, box in zip(slabs, boxes, strict=True) for path in cut(box, slab.node.groups)]
        dark = style(kind, hue)["edgecolor"]
        paint(axes, stripes, edgecolor=dark if kind == "depthwise" else "#ffffff", linewidth=0.5)


def paint_joints(axes: Any, joints: list[Joint]) -> None:
    from matplotlib.path import Path as Curve

    bars = [rectangle((bar.x, bar.y, bar.width, bar.height)) for bar in joints if bar.node.kind == "concat"]
    paint(axes, bars, facecolor="#555555", linewidth=0)
    for kind, face in (("add", "#ffffff"), ("gate", "#ffe28a")):
        centres = [(joint.x + RADIUS, joint.y) for joint in joints if joint.node.kind == kind]
        circles: list[Any] = [Curve.circle(centre, RADIUS) for centre in centres]
        rings = [([tuple(point) for point in circle.vertices], list(circle.codes)) for circle in circles]
        paint(axes, rings, facecolor=face, edgecolor=INK)
        paint(axes, [line for x, y in centres for line in cross(x, y, kind)], edgecolor=INK)


def paint_repeats(axes: Any, drawing: Drawing) -> None:
    from matplotlib.patches import FancyBboxPatch

    for repeat in drawing.repeats:
        bottom, rounded = repeat.y - repeat.height / 2, "round,pad=0,rounding_size=0.05"
        look: dict[str, Any] = {"fill": False, "linestyle": (0, (3, 2)), "linewidth": 0.8, "edgecolor": INK}
        axes.add_patch(FancyBboxPatch((repeat.x, bottom), repeat.width, repeat.height, boxstyle=rounded, **look))
        text = f"x {repeat.count}" if repeat.shown == 1 else f"{repeat.shown} of {repeat.count}"
        middle, under = repeat.x + repeat.width / 2, {"ha": "center", "va": "top", "fontsize": 8 * drawing.zoom}
        write_text(axes, middle, bottom - 0.03, text, fontweight="bold", **under)


def paint_legend(axes: Any, drawing: Drawing) -> None:
    """What shades and marks mean, and the scale, in a line under the network."""
    zoom = drawing.zoom
    y, x = -drawing.down + (0.16 - FOOT) * zoom, 0.0
    present = {kind_of(slab.node) for slab in drawing.slabs if slab.node.kind != "image"}
    tallest = max((slab.node.channels for slab in drawing.slabs if kind_of(slab.node) == "vector"), default=0)
    for kind in [kind for kind in KINDS if kind in present]:
        box = (x, y, 0.16 * zoom, 0.1 * zoom)
        paint(axes, [rectangle(box)], **style(kind, GREY))
        if kind in ("grouped", "depthwise"):
            dark = style(kind, GREY)["edgecolor"]
            paint(axes, cut(box, 5), edgecolor=dark if kind == "depthwise" else "#ffffff", linewidth=0.5)
        x = say(axes, x + 0.21 * zoom, y, f"vector, up to {tallest}" if kind == "vector" else kind, zoom)
    for kind, text in (("add", "sum"), ("gate", "squeeze-and-excitation"), ("concat", "concatenation")):
        found = [joint for joint in drawing.joints if joint.node.kind == kind]
        if found:
            paint_joints(axes, [replace(found[0], x=x, y=y, height=0.12)])
            x = say(axes, x + 0.15, y, text, zoom)
    pixels, channels = nice(0.25 / drawing.per_pixel), nice(0.4 / drawing.per_channel)
    x = drawing.width
    for text, bar in (
        (f"{channels} channels", (channels * drawing.per_channel, 0.03)),
        (f"{pixels} pixels", (0.03, pixels * drawing.per_pixel)),
    ):
        write_text(axes, x, y, text, fontsize=8 * zoom, ha="right")
        x -= (LETTER * len(text) + 0.1) * zoom + bar[0]
        paint(axes, [rectangle((x, y, *bar))], facecolor=INK, linewidth=0)
        x -= 0.2 * zoom


def say(axes: Any, x: float, y: float, text: str, zoom: float) -> float:
    """Write text, and return where the next may start."""
    write_text(axes, x, y, text, fontsize=8 * zoom)
    return x + (LETTER * len(text) + 0.17) * zoom


def nice(value: float) -> int:
    """The power of two next below."""
    return 2 ** max(math.floor(math.log2(value)), 0)
