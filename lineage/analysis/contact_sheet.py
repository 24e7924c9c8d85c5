"""The picture that lineage preview makes: images as evaluation and training have them, in pairs, with their labels."""

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lineage.files import write_whole

CELL = 224  # side of an image, in pixels; smaller ones are enlarged by whole numbers, larger ones reduced
WITHIN, BETWEEN, MARGIN = 6, 34, 44  # pixels within a pair, between pairs, around everything
TITLE, TEXT, SMALL = 34, 19, 16  # font sizes
LINE, BAR = 22, 5  # heights of a line of text and of a bar
INK, SOFT, OWN, OTHER = "#1a1a1a", "#767676", "#0072b2", "#e8833a"
PER_ROW = 4


class Pair(NamedTuple):
    """An image as an evaluation and as training has it, both (H, W, 3) uint8.

    label: names of classes and their shares of the training image, the image's own class first.
    """

    evaluation: numpy.ndarray
    training: numpy.ndarray
    label: list[tuple[str, float]]


def write(pairs: Sequence[Pair], title: str, subtitle: str, heads: tuple[str, str], file: Path) -> None:
    """Write `sheet` as PNG; its folder is made. Raises UserError: the file cannot be written."""
    png = io.BytesIO()
    sheet(pairs, title, subtitle, heads).save(png, "PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, png.getvalue(), "choose output=PATH")


def sheet(pairs: Sequence[Pair], title: str, subtitle: str, heads: tuple[str, str]) -> Image.Image:
    """The picture.

    Args:
        subtitle: below the title, broken into lines.
        heads: over the first and the second image of the pairs.
    """
    columns = min(PER_ROW, len(pairs))
    width = 2 * MARGIN + columns * (2 * CELL + WITHIN) + (columns - 1) * BETWEEN
    lines = _wrapped(subtitle, font_of(TEXT), width - 2 * MARGIN)
    top, height = MARGIN + TITLE + 20 + len(lines) * 26 + 40, CELL + BAR + 2 * LINE + 34
    picture = Image.new("RGB", (width, top + -(-len(pairs) // columns) * height + MARGIN - 34), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), truncated(title, font_of(TITLE), width - 2 * MARGIN), INK, font_of(TITLE), anchor="la")
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + TITLE + 20 + 26 * number), line, SOFT, font_of(TEXT), anchor="la")
    for place, pair in enumerate(pairs):
        row, column = divmod(place, columns)
        corner = (MARGIN + column * (2 * CELL + WITHIN + BETWEEN), top + row * height)
        _paint(picture, draw, pair, corner)
        for half, head in enumerate(heads if row == 0 else ()):
            at = (corner[0] + half * (CELL + WITHIN), corner[1] - 10)
            draw.text(at, truncated(head, font_of(SMALL), CELL), SOFT, font_of(SMALL), anchor="ls")
    return picture


def _paint(sheet: Image.Image, draw: ImageDraw.ImageDraw, pair: Pair, corner: tuple[int, int]) -> None:
    """Both images, and below the second a bar with the shares of its classes, and their names."""
    left, top = corner
    right, font = left + CELL + WITHIN, font_of(SMALL)
    for pixels, x in ((pair.evaluation, left), (pair.training, right)):
        sheet.paste("#f3f3f3", (x, top, x + CELL, top + CELL))
        image = fitted(pixels)
        sheet.paste(image, (x + (CELL - image.width) // 2, top + (CELL - image.height) // 2))
    draw.text((left, top + CELL + BAR + 8), truncated(pair.label[0][0], font, CELL), INK, font, anchor="la")
    start, mixed = right, len(pair.label) > 1
    for row, ((name, share), colour) in enumerate(zip(pair.label, (OWN, OTHER), strict=False)):
        y, end = top + CELL + BAR + 8 + LINE * row, start + round(CELL * share)
        if mixed and end > start:
            draw.rectangle((start, top + CELL + 2, end - 1, top + CELL + 1 + BAR), colour)
        start = end
        tail = f" {share:.2f}" if mixed else ""
        text = truncated(("+ " if row else "") + name, font, CELL - font.getlength(tail)) + tail
        draw.text((right, y), text, colour if mixed else INK, font, anchor="la")


def fitted(pixels: numpy.ndarray) -> Image.Image:
    """(H, W, 3) uint8 as an image that fits a cell: a pixel becomes a square, or larger images are reduced."""
    image = Image.fromarray(numpy.ascontiguousarray(pixels))
    if max(image.size) > CELL:
        return ImageOps.contain(image, (CELL, CELL), Image.Resampling.LANCZOS)
    return ImageOps.scale(image, CELL // max(image.size), Image.Resampling.NEAREST)


def font_of(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # part of Pillow, so it is the same on every machine
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def truncated(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text in ASCII, the only letters that the font has, cut to the width."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    text = "".join(letter if letter.isascii() else "?" for letter in letters)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
