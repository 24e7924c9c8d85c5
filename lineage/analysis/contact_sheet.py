"""The picture that lineage preview makes: images in pairs, as a test and as training show them, with their labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from PIL import Image, ImageDraw, ImageFont

CELL = 224  # pixels of a side; smaller images are enlarged by whole numbers, larger ones reduced
WITHIN, BETWEEN, MARGIN = 6, 34, 44  # pixels in a pair, between pairs, around all
TITLE, WORDS, SMALL = 34, 19, 16  # sizes of letters
LINE, BAR = 22, 5
INK, SOFT, OWN, OTHER = "#1a1a1a", "#767676", "#0072b2", "#e8833a"
PER_ROW = 4


class Pair(NamedTuple):
    """An image twice, (H, W, 3) uint8: as a test shows it, and as training does.

    label: names of classes and their shares of the training image, its own class first.
    """

    tested: numpy.ndarray
    trained: numpy.ndarray
    label: list[tuple[str, float]]


def write(pairs: Sequence[Pair], title: str, told: str, heads: tuple[str, str], file: Path) -> None:
    """Write the picture as PNG; its folder is made.

    Args:
        title, told: above all; told is broken into lines.
        heads: over the pictures of a test, and of training.
    """
    columns = min(PER_ROW, len(pairs))
    width = 2 * MARGIN + columns * (2 * CELL + WITHIN) + (columns - 1) * BETWEEN
    lines = _broken(told, _font(WORDS), width - 2 * MARGIN)
    top, height = MARGIN + TITLE + 20 + len(lines) * 26 + 40, CELL + BAR + 2 * LINE + 34
    sheet = Image.new("RGB", (width, top + -(-len(pairs) // columns) * height + MARGIN - 34), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), _cut(title, _font(TITLE), width - 2 * MARGIN), INK, _font(TITLE), anchor="la")
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + TITLE + 20 + 26 * number), line, SOFT, _font(WORDS), anchor="la")
    for place, pair in enumerate(pairs):
        row, column = divmod(place, columns)
        corner = (MARGIN + column * (2 * CELL + WITHIN + BETWEEN), top + row * height)
        _paint(sheet, draw, pair, corner)
        for half, head in enumerate(heads if row == 0 else ()):
            at = (corner[0] + half * (CELL + WITHIN), corner[1] - 10)
            draw.text(at, _cut(head, _font(SMALL), CELL), SOFT, _font(SMALL), anchor="ls")
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


def _paint(sheet: Image.Image, draw: ImageDraw.ImageDraw, pair: Pair, corner: tuple[int, int]) -> None:
    """Both pictures; below the second a bar of the shares of its classes, and their names."""
    left, top = corner
    right, font = left + CELL + WITHIN, _font(SMALL)
    for picture, x in ((pair.tested, left), (pair.trained, right)):
        sheet.paste("#f3f3f3", (x, top, x + CELL, top + CELL))
        shown = enlarged(picture)
        sheet.paste(shown, (x + (CELL - shown.width) // 2, top + (CELL - shown.height) // 2))
    draw.text((left, top + CELL + BAR + 8), _cut(pair.label[0][0], font, CELL), INK, font, anchor="la")
    start, mixed = right, len(pair.label) > 1
    for row, ((name, share), colour) in enumerate(zip(pair.label, (OWN, OTHER), strict=False)):
        y, end = top + CELL + BAR + 8 + LINE * row, start + round(CELL * share)
        if mixed and end > start:
            draw.rectangle((start, top + CELL + 2, end - 1, top + CELL + 1 + BAR), colour)
        start = end
        words = ("+ " if row else "") + name
        tail = f" {share:.2f}" if mixed else ""
        words = _cut(words, font, CELL - font.getlength(tail)) + tail
        draw.text((right, y), words, colour if mixed else INK, font, anchor="la")


def enlarged(picture: numpy.ndarray) -> Image.Image:
    """(H, W, 3) uint8 to fit a cell: pixels stay squares, unless there are more of them than it has."""
    image = Image.fromarray(numpy.ascontiguousarray(picture))
    side = max(image.size)
    if side > CELL:
        return image.resize(
            (round(image.width * CELL / side), round(image.height * CELL / side)), Image.Resampling.LANCZOS
        )
    times = CELL // side
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # the one that Pillow carries: the same on every machine
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or so much of it as fits, in letters that the font has: those of ASCII."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    text = "".join(letter if letter.isascii() else "?" for letter in letters)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _broken(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """In lines that fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
