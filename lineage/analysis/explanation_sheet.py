"""The picture that lineage explain makes: images, the places that speak for a class, and the most probable classes."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from PIL import Image, ImageDraw

from lineage.analysis.contact_sheet import (
    CELL,
    INK,
    MARGIN,
    OTHER,
    OWN,
    SMALL,
    SOFT,
    TEXT,
    TITLE,
    WITHIN,
    fitted,
    font_of,
    truncated,
)  # fmt: skip
from lineage.files import write_whole

LABELS, ROW, HEAD = 330, CELL + 26, 30  # width of the list of classes; heights of a row and of the line over the rows
BAR = 90  # pixels of probability 1


class Explanation(NamedTuple):
    """An image and what a network sees in it.

    Attributes:
        pixels: the network's input, (H, W, 3) uint8.
        name: of the image.
        classes: the most probable classes and their probabilities.
        label: the true class, if it is known.
        maps: class activation maps (h, w), at least 0, of the most probable class and, where it is another, of the
            true one.
    """

    pixels: numpy.ndarray
    name: str
    classes: Sequence[tuple[str, float]]
    label: str | None
    maps: Sequence[numpy.ndarray]


def overlaid(pixels: numpy.ndarray, heat: numpy.ndarray) -> Image.Image:
    """The image in grey, coloured where a class activation map is large."""
    image = fitted(pixels)
    scaled = Image.fromarray((heat / max(heat.max(), 1e-12)).astype(numpy.float32))
    share = numpy.clip(numpy.asarray(scaled.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)
    tint = Image.new("RGB", image.size, OTHER)
    return Image.composite(tint, image.convert("L").convert("RGB"), Image.fromarray((share * 180).astype(numpy.uint8)))


def write(explanations: Sequence[Explanation], title: str, file: Path) -> None:
    """Write the picture as PNG; its folder is made. Raises UserError: the file cannot be written."""
    maps = max(len(explanation.maps) for explanation in explanations)
    width = 2 * MARGIN + (maps + 1) * (CELL + WITHIN) + LABELS
    top = MARGIN + TITLE + 16 + HEAD
    sheet = Image.new("RGB", (width, top + len(explanations) * ROW + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), truncated(title, font_of(TITLE), width - 2 * MARGIN), INK, font_of(TITLE), anchor="la")
    heads = ("image", "speaks for the first class", "speaks for the true class")
    for column, head in enumerate(heads[: maps + 1]):
        place = (MARGIN + column * (CELL + WITHIN), top - 8)
        draw.text(place, truncated(head, font_of(SMALL), CELL), SOFT, font_of(SMALL), anchor="ls")
    for row, explanation in enumerate(explanations):
        _paint(sheet, draw, explanation, top + row * ROW, maps)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, png.getvalue(), "choose output=PATH")


def _paint(sheet: Image.Image, draw: ImageDraw.ImageDraw, explanation: Explanation, top: int, maps: int) -> None:
    """A row: the image, its maps, and its classes with a bar for each probability."""
    cells = [fitted(explanation.pixels), *(overlaid(explanation.pixels, heat) for heat in explanation.maps)]
    for column, cell in enumerate(cells):
        left = MARGIN + column * (CELL + WITHIN)
        sheet.paste(cell, (left + (CELL - cell.width) // 2, top + (CELL - cell.height) // 2))
    left = MARGIN + (maps + 1) * (CELL + WITHIN) + 14
    draw.text((left, top + 2), truncated(explanation.name, font_of(SMALL), LABELS), SOFT, font_of(SMALL), anchor="la")
    for line, (name, probability) in enumerate(explanation.classes):
        y, true = top + 32 + 30 * line, name == explanation.label
        draw.rectangle((left, y, left + max(round(BAR * probability), 1), y + 18), OWN if true else "#b9b9b9")
        text = truncated(f"{probability:.3f}  {name}", font_of(TEXT), LABELS - BAR - 10)
        draw.text((left + BAR + 10, y + 9), text, OWN if true else INK, font_of(TEXT), anchor="lm")
    if explanation.label is not None:
        text = truncated(f"true class: {explanation.label}", font_of(SMALL), LABELS)
        draw.text((left, top + CELL), text, SOFT, font_of(SMALL), anchor="ls")
