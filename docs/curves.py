"""All procedures over the course of their training, on one scale, as the text of an SVG; what SVGs are written with."""

import math
from collections.abc import Mapping

from lineage.recipes.optim.schedules import learning_rate
from lineage.recipes.recipe import Recipe

WIDTH, HEIGHT = 1280, 720
TOP, ROW = 30, 25.4  # pixels of the heading and of a procedure
NAME, FIRST, STRIP, GAP = 8, 262, 246, 10  # pixels: x of the names and of the first strip, width of strips and gaps
POINTS = 120  # of a curve
STEPS = 1000  # of an epoch
DECADES = (-6.0, 0.5)  # learning rates from 10^-6 to 10^0.5
STRENGTHS, RESOLUTIONS = 1.6, 400  # at the full height of a strip: standard deviations, pixels
COLOURS = {"learning rate": "#3b6ea8", "momentum": "#6a9c5b", "augmentation": "#c98b3a", "resolution": "#8d6aa6"}
FONT = 'font-family="DejaVu Sans, Verdana, sans-serif"'


def draw(procedures: Mapping[str, tuple[Recipe, int]], strengths: Mapping[str, float]) -> str:
    """The picture.

    Args:
        procedures: by name, a recipe and its training resolution.
        strengths: of their augmentations.
    """
    lines = []
    for column, (title, colour) in enumerate(COLOURS.items()):
        lines.append(text(left(column), TOP - 10, title, colour, size=20, bold=True))
    for row, (name, (recipe, resolution)) in enumerate(procedures.items()):
        bottom = TOP + (row + 1) * ROW - 3
        lines.append(text(NAME, bottom - 3, name, "#222222", size=19))
        lines.append(text(FIRST - 12, bottom - 3, f"{recipe.total_epochs}", "#888888", size=17, end=True))
        lines += [
            strip(0, bottom, rates(recipe), ""),
            strip(1, bottom, [recipe.momentum], f"{recipe.momentum:g}"),
            strip(2, bottom, [strengths[name] / STRENGTHS], f"{strengths[name]:.2f}"),
            strip(3, bottom, sides(recipe, resolution), f"{resolution}"),
        ]
    return svg(lines)


def rates(recipe: Recipe) -> list[float]:
    """The learning rate from the first step to the last, as heights in [0, 1]."""
    low, high = DECADES
    heights = []
    for point in range(POINTS):
        share = point / (POINTS - 1)
        step = round(share * (recipe.total_epochs * STEPS - 1))
        decays = int(share * (recipe.max_decays + 1)) if recipe.schedule == "plateau" else 0
        rate = learning_rate(recipe, step, STEPS, min(decays, recipe.max_decays))
        heights.append((math.log10(max(rate, 10**low)) - low) / (high - low))
    return heights


def sides(recipe: Recipe, resolution: int) -> list[float]:
    """The resolution over equal parts of the training, as heights in [0, 1]."""
    return [side / RESOLUTIONS for side in recipe.progressive_res or [resolution]]


def strip(column: int, bottom: float, heights: list[float], label: str) -> str:
    """The area under a curve of heights in [0, 1], or under one constant height, and its label."""
    colour, tall = list(COLOURS.values())[column], ROW - 5
    across = [left(column) + STRIP * place / max(len(heights) - 1, 1) for place in range(max(len(heights), 2))]
    tops = [bottom - tall * height for height in (heights if len(heights) > 1 else heights * 2)]
    curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, tops, strict=True))
    area = f"{left(column)},{bottom:.1f} {curve} {left(column) + STRIP},{bottom:.1f}"
    parts = [
        f'<polygon points="{area}" fill="{colour}" fill-opacity="0.35"/>',
        f'<polyline points="{curve}" fill="none" stroke="{colour}" stroke-width="1.6"/>',
    ]
    return "\n".join([*parts, text(left(column) + 6, bottom - 3, label, "#222222", size=17)] if label else parts)


def left(column: int) -> int:
    return FIRST + column * (STRIP + GAP)


def svg(lines: list[str]) -> str:
    """A whole picture."""
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', ground, *lines, "</svg>", ""])


def text(x: float, y: float, words: str, colour: str, size: int, bold: bool = False, end: bool = False) -> str:
    weight, anchor = ' font-weight="bold"' if bold else "", ' text-anchor="end"' if end else ""
    place = f'x="{x:g}" y="{y:.1f}" {FONT} font-size="{size}"{weight}{anchor}'
    return f'<text {place} fill="{colour}" stroke="white" stroke-width="4" paint-order="stroke">{words}</text>'
