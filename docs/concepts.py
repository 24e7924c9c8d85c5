"""Write docs/concepts.md, from its line MADE on, and its pictures: make docs

Texts, code and grids are in docs/concepts.yaml. The code of all concepts is one Python session, and the pictures show
its variables.
"""

import ast
import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from docs import papers
from lineage.anatomy.drawing.cells import paint_cells
from lineage.anatomy.drawing.key import KERNELS, paint_join
from lineage.anatomy.drawing.page import INK, LINE, MARGIN, SOFT, WIDTH, Page, width_of
from lineage.anatomy.drawing.svg import in_units

PAGE = papers.ROOT / "docs" / "concepts.md"
TOP, GAP, BEHIND = 90.0, 22.0, 10.0
BLUE, WHITE = KERNELS["3x3"]  # of a 3x3 filter, and of text on it
FILLS = {"filter": BLUE, "plain": WHITE, "pointwise": KERNELS["1x1"][0], "border": KERNELS["avg"][0], "seen": "#a9cfe8"}


@dataclass(frozen=True)
class Grid:
    """Numbers or words in boxes under a title; True and False are boxes without a text, True a blue one."""

    title: str
    values: list[list[Any]]
    fills: tuple[tuple[str, int, int, int, int], ...] = ()  # of FILLS, from top and left to bottom and right
    cell: float = 46.0  # height of a box
    wide: float = 1.0  # its width, in heights
    sheets: int = 1  # drawn behind each other

    @property
    def size(self) -> tuple[float, float]:
        """Width, and height with the title above."""
        behind = BEHIND * (self.sheets - 1)
        return len(self.values[0]) * self.cell * self.wide + behind, 1.5 * LINE + len(self.values) * self.cell + behind

    def paint(self, page: Page, left: float, top: float) -> None:
        page.write(self.title, left + self.size[0] / 2, top + LINE, "middle")
        for sheet in reversed(range(self.sheets)):
            x, y = left + BEHIND * sheet, top + 1.5 * LINE + BEHIND * (self.sheets - 1 - sheet)
            for row, values in enumerate(self.values):
                for column, value in enumerate(values):
                    fill = BLUE if value is True else WHITE
                    for name, first, start, last, end in self.fills:
                        fill = FILLS[name] if first <= row < last and start <= column < end else fill
                    text = value if isinstance(value, str) else "" if isinstance(value, bool) else f"{value:.2g}"
                    middle = x + (column + 0.5) * self.cell * self.wide, y + (row + 0.5) * self.cell
                    paint_box(page, text, *middle, self.cell * self.wide, self.cell, fill)


def paint_box(page: Page, text: str, x: float, y: float, width: float, height: float, fill: str) -> None:
    page.rectangle((x - width / 2, y - height / 2, x + width / 2, y + height / 2), fill, INK)
    page.write(text, x, y + 8, "middle", ink=WHITE if fill == BLUE else INK)


def paint_sign(page: Page, text: str, x: float, y: float, width: float) -> None:
    """One letter, or an arrow below its text."""
    if text[:2] == "->":
        page.path(f"M{x:.1f} {y:.1f} h{width:.1f} m-9 -6 l9 6 l-9 6")
    page.write(text.removeprefix("-> "), x + width / 2, y - 10 if text[:2] == "->" else y + 8, "middle")


def size(column: list[Grid] | str) -> tuple[float, float]:
    if isinstance(column, str):
        return width_of(column), 0.0
    return max(max(grid.size[0], width_of(grid.title)) for grid in column), sum(grid.size[1] for grid in column)


def line_up(page: Page, columns: list[list[Grid] | str]) -> None:
    """Grids above each other, signs, and arrows as "-> text", from left to right around one axis."""
    widths, heights = zip(*map(size, columns), strict=True)
    x, axis = (WIDTH - sum(widths) - GAP * (len(widths) - 1)) / 2, TOP + max(heights) / 2
    for column, width, height in zip(columns, widths, heights, strict=True):
        if isinstance(column, str):
            paint_sign(page, column, x, axis + 0.75 * LINE, width)
        else:
            y = axis - height / 2
            for grid in column:
                grid.paint(page, x + (width - grid.size[0]) / 2, y)
                y += grid.size[1]
        x += width + GAP
    page.height = TOP + max(heights) + GAP


def paint_residual(page: Page, session: dict[str, Any]) -> None:
    """The block of ResNet-18, without and with its connection."""
    layer = f"3x3, {session['block'].conv1.conv.out_channels}"
    for title, axis in (("plain", 150.0), ("residual", 300.0)):
        page.write(title, MARGIN, axis + 8, bold=True)
        paint_sign(page, "-> ", 180, axis, WIDTH - 180 - MARGIN)
        for text, x in ((layer, 400), ("relu", 590), (layer, 780), ("relu", 1110)):
            paint_box(page, text, x, axis, 90 if text == "relu" else 170, 56, BLUE if text == layer else WHITE)
        if title == "residual":
            page.path(f"M260 {axis} V{axis - 60} H970 V{axis}")
            paint_join(page, "add", (958, axis - 12, 982, axis + 12))
    page.height = 300 + 28 + GAP


def paint_nasnet(page: Page, session: dict[str, Any]) -> None:
    page.height = GAP + paint_cells(
        page, {f"{kind} cell": session[kind] for kind in ("normal", "reduction")}, page.height
    )


def paint_scaling(page: Page, session: dict[str, Any]) -> None:
    """A column a network, all to one scale: pixels of the image, channels and number of the blocks."""
    floor, step = 480.0, 8.0
    for number, (way, channels) in enumerate(session["channels"].items()):
        x, side = MARGIN + (number + 0.5) * (WIDTH - 2 * MARGIN) / 5, session["sides"][way] * 0.4
        paint_box(page, str(session["sides"][way]), x, floor - side / 2, side, side, KERNELS["image"][0])
        for place, wide in enumerate(channels, start=1):
            y = floor - side - 4 - place * step
            page.rectangle((x - wide / 4, y, x + wide / 4, y + step - 2), BLUE)
        page.write(way, x, floor + LINE, "middle", bold=True)
        page.write(f"{len(channels)} blocks, {in_units(session['macs'][way])}", x, floor + 2 * LINE, "middle")
    page.height = floor + 2 * LINE + GAP


PAINTERS = {"residual": paint_residual, "cells": paint_nasnet, "scaling": paint_scaling}


def transcript(code: str, session: dict[str, Any]) -> str:
    """Run the code in the session; each statement with what Python prints of it."""
    lines = []
    for statement in ast.parse(code).body:
        lines.append(f">>> {ast.get_source_segment(code, statement)}".replace("\n", "\n... "))
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(ast.Interactive([statement]), PAGE.name, "single"), session)
        lines += printed.getvalue().splitlines()
    return "\n".join(lines)


def draw(concept: dict[str, Any], paint: Any, session: dict[str, Any]) -> str:
    """The picture as SVG: the grids, if there are any, and below them what `paint` draws."""
    page = Page(concept["title"])
    page.write(concept["title"], MARGIN, 40, size=32, bold=True)
    page.write(concept["line"], MARGIN, 74, ink=SOFT)
    columns = [
        item if isinstance(item, str) else [Grid(**grid | {"values": eval(grid["values"], session)}) for grid in item]
        for item in concept.get("picture", [])
    ]
    if columns:
        line_up(page, columns)
    if paint:
        paint(page, session)
    return page.svg()


def concepts() -> dict[str, dict[str, Any]]:
    """By name what the page says of each, the transcript of its code, and its picture."""
    session: dict[str, Any] = {}
    found: Any = OmegaConf.to_container(OmegaConf.load(PAGE.with_suffix(".yaml")))
    for name, concept in found.items():
        concept["transcript"] = transcript(concept["code"], session)
        concept["svg"] = draw(concept, PAINTERS.get(name), session)
    return found


if __name__ == "__main__":
    made = concepts()
    PAGE.write_text(papers.page(PAGE, concepts=made))
    for name, concept in made.items():
        PAGE.with_suffix("").joinpath(f"{name}.svg").write_text(concept["svg"])
