"""Colours and outlines of a drawing: hue by stage, shade by kind of operation."""

from __future__ import annotations

import math
from typing import Any

from anatomy.geometry import RADIUS, Point, Wire
from anatomy.trace import Node

# A hue a stage, distinguishable to colour-blind readers (Tol, "Colour schemes", 2021, muted); the first is the stem's.
HUES = ["#7f8994", "#332288", "#44AA99", "#CC6677", "#999933", "#88CCEE", "#882255", "#117733", "#DDCC77", "#AA4499"]
INK, GREY = "#222222", "#6d7480"
KINDS = ["1x1", "3x3", "larger", "grouped", "depthwise", "pooling", "vector"]
STRIPES = 0.035  # inches from stripe to stripe of a depthwise convolution, at least

Box = tuple[float, float, float, float]  # x of its left side, y of its middle, width, height
Outline = tuple[list[Point], list[int]]  # vertices and codes of a path
START, LINE, QUADRATIC, CUBIC, CLOSE = 1, 2, 3, 4, 79  # matplotlib's codes


def kind_of(node: Node) -> str:
    """Its entry in the legend."""
    if node.kind in ("max", "avg"):
        return "pooling" if node.side != (1, 1) else "vector"
    if node.side == (1, 1) and node.kind != "image":
        return "vector"
    if node.groups > 1:
        return "depthwise" if node.depthwise else "grouped"
    size = max(node.kernel)
    return "1x1" if size == 1 else "3x3" if size <= 3 else "larger"


def blend(colour: str, other: str, share: float) -> str:
    """`share` of the other colour in this one."""
    channels = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colour, other)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*channels, strict=True))


def style(kind: str, hue: str) -> dict[str, Any]:
    """Shade by kind: the larger the kernel, the darker; pooling is hollow."""
    face = {
        "1x1": blend(hue, "#ffffff", 0.62),
        "3x3": hue,
        "grouped": hue,
        "larger": blend(hue, "#000000", 0.42),
        "depthwise": blend(hue, "#ffffff", 0.72),
        "pooling": "#ffffff",
        "vector": blend(hue, "#ffffff", 0.25),
    }[kind]
    return {"facecolor": face, "edgecolor": blend(hue, "#000000", 0.3), "linewidth": 0.6}


def paint(axes: Any, paths: list[Outline], **options: Any) -> None:
    """Add several paths, vertices and codes, of one style as one."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    if paths:
        vertices = [point for points, _ in paths for point in points]
        path = Curve(vertices, [code for _, codes in paths for code in codes])
        axes.add_patch(PathPatch(path, clip_on=False, **{"linewidth": 0.7} | options))


def rectangle(box: Box) -> Outline:
    x, y, width, height = box
    bottom, top, right = y - height / 2, y + height / 2, x + width
    return [(x, bottom), (x, top), (right, top), (right, bottom), (x, bottom)], [START, LINE, LINE, LINE, CLOSE]


def trail(wire: Wire) -> list[Outline]:
    """A wire as a path: a curve between two points, an arc over three, or lines with rounded corners."""
    points = list(wire.points)
    (x0, y0), (x1, y1) = points[0], points[-1]
    if wire.style == "curve":
        middle = (x0 + x1) / 2
        return [([(x0, y0), (middle, y0), (middle, y1), (x1, y1)], [START, CUBIC, CUBIC, CUBIC])]
    if wire.style == "arc":
        y = points[1][1]
        return [([(x0, y0), (x0, y), (x1, y), (x1, y1)], [START, CUBIC, CUBIC, CUBIC])]
    vertices, codes = [points[0]], [START]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(0.04, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        vertices += [towards(corner, before, radius), corner, towards(corner, after, radius)]
        codes += [LINE, QUADRATIC, QUADRATIC]
    return [([*vertices, points[-1]], [*codes, LINE])]


def towards(start: Point, end: Point, length: float) -> Point:
    share = length / (math.dist(start, end) or 1.0)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def cut(box: Box, groups: int) -> list[Outline]:
    """Upright stripes between groups of channels, which lie side by side and do not mix; as many as fit."""
    x, y, width, height = box
    pieces = min(groups, max(round(width / STRIPES), 2))
    cuts = [x + width * i / pieces for i in range(1, pieces)]
    return [([(at, y - height / 2), (at, y + height / 2)], [START, LINE]) for at in cuts]


def cross(x: float, y: float, kind: str) -> list[Outline]:
    """A plus in the circle of a sum, a times in that of a gate."""
    r = 0.55 * RADIUS
    if kind == "add":
        return [([(x - r, y), (x + r, y)], [START, LINE]), ([(x, y - r), (x, y + r)], [START, LINE])]
    return [([(x - r, y - r), (x + r, y + r)], [START, LINE]), ([(x - r, y + r), (x + r, y - r)], [START, LINE])]
