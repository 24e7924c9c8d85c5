"""Sheets of images with captions, as Pillow's pictures: training images, explanations, and what a test got wrong."""

import io
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lineage.analysis.record import Record
from lineage.files import write_whole

CELL = 224  # side of an image, in pixels; smaller ones are enlarged by whole numbers, larger ones reduced
WITHIN, BETWEEN, MARGIN = 6, 34, 44  # pixels between cells of a group, between groups, around everything
TITLE, TEXT, SMALL = 34, 19, 16  # font sizes
LINE, BAR = 28, 5  # heights of a caption and of its bar
INK, SOFT, OWN, OTHER = "#1a1a1a", "#767676", "#0072b2", "#e8833a"


class Caption(NamedTuple):
    """A line below an image; if it has a share, a bar of that share of the cell's width is drawn under it."""

    text: str
    colour: str = INK
    share: float | None = None


class Cell(NamedTuple):
    """An image, (H, W, C) uint8 or Pillow's, or None, and its captions."""

    image: ndarray | Image.Image | None
    captions: Sequence[Caption] = ()


class Pair(NamedTuple):
    """An image as an evaluation and as training has it, both (H, W, 3) uint8.

    label: names of classes and their shares of the training image, the image's own class first.
    """

    evaluation: ndarray
    training: ndarray
    label: list[tuple[str, float]]

    def cells(self) -> list[Cell]:
        (own, share), *others = self.label
        mixed = [Caption(f"{share:.2f}  {own}", OWN, share)] if others else [Caption(own)]
        mixed += [Caption(f"{part:.2f}  {name}", OTHER, part) for name, part in others]
        return [Cell(self.evaluation, [Caption(own)]), Cell(self.training, mixed)]


def wrong_images(record: Record, rows: Sequence[int], images: Sequence[ndarray]) -> Image.Image:
    """Images (H, W, C) uint8 of some rows of a record, each above its class, the prediction and its probability."""
    groups = []
    for row, pixels in zip(rows, images, strict=True):
        true, answer = record.classes[record.label[row]], record.classes[record.predicted[row]]
        said = Caption(f"{record.confidence[row]:.3f}  taken for {answer}", OTHER)
        groups.append([Cell(pixels, [Caption(true, OWN), said])])
    return sheet(groups, "Most confidently wrong", per_row=6)


def sheet(
    groups: Sequence[Sequence[Cell]], title: str, subtitle: str = "", heads: Sequence[str] = (), per_row: int = 4
) -> Image.Image:
    """The picture.

    Args:
        groups: of cells that stand close together.
        subtitle: below the title, broken into lines.
        heads: over each cell of the first row's groups.
        per_row: groups of a row.
    """
    columns, cells = min(per_row, len(groups)), max(map(len, groups))
    across = cells * (CELL + WITHIN) - WITHIN + BETWEEN
    width = 2 * MARGIN + columns * across - BETWEEN
    lines = textwrap.wrap(subtitle, int((width - 2 * MARGIN) / _font(TEXT).getlength("n")))
    top = MARGIN + TITLE + 20 + 26 * len(lines) + 40
    below = [len(cell.captions) * LINE + (CELL if cell.image is not None else 0) for group in groups for cell in group]
    height = max(CELL, *below) + BETWEEN
    picture = Image.new("RGB", (width, top + -(-len(groups) // columns) * height + MARGIN - BETWEEN), "white")
    draw = ImageDraw.Draw(picture)
    _write(draw, (MARGIN, MARGIN), title, width - 2 * MARGIN, INK, TITLE)
    for number, line in enumerate(lines):
        _write(draw, (MARGIN, MARGIN + TITLE + 20 + 26 * number), line, width - 2 * MARGIN, SOFT, TEXT)
    for place, group in enumerate(groups):
        row, column = divmod(place, columns)
        for number, cell in enumerate(group):
            corner = (MARGIN + column * across + number * (CELL + WITHIN), top + row * height)
            _paint(picture, draw, cell, corner)
            if row == 0 and number < len(heads):
                _write(draw, (corner[0], top - 28), heads[number], CELL, SOFT, SMALL)
    return picture


def write(picture: Image.Image, file: Path) -> None:
    """Write it as PNG; its folder is made. Raises UserError: the file cannot be written."""
    png = io.BytesIO()
    picture.save(png, "PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, png.getvalue(), "choose output=PATH")


def _paint(picture: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, corner: tuple[int, int]) -> None:
    left, top = corner
    if cell.image is not None:
        image = fitted(cell.image) if isinstance(cell.image, ndarray) else cell.image
        picture.paste("#f3f3f3", (left, top, left + CELL, top + CELL))
        picture.paste(image, (left + (CELL - image.width) // 2, top + (CELL - image.height) // 2))
        top += CELL + 6
    for text, colour, share in cell.captions:
        _write(draw, (left, top), text, CELL, colour, SMALL)
        if share:
            draw.rectangle((left, top + LINE - BAR - 4, left + max(round(CELL * share), 1) - 1, top + LINE - 5), colour)
        top += LINE


def fitted(pixels: ndarray) -> Image.Image:
    """(H, W, C) uint8 as an image that fits a cell: a pixel becomes a square, or larger images are reduced."""
    image = Image.fromarray(numpy.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)).copy())
    if max(image.size) > CELL:
        return ImageOps.contain(image, (CELL, CELL), Image.Resampling.LANCZOS)
    return ImageOps.scale(image, CELL // max(image.size), Image.Resampling.NEAREST)


def overlaid(pixels: ndarray, heat: ndarray) -> Image.Image:
    """The image (H, W, C) uint8 in grey, coloured where a class activation map (h, w), at least 0, is large."""
    image = fitted(pixels)
    scaled = Image.fromarray((heat / max(heat.max(), 1e-12)).astype(numpy.float32))
    share = numpy.clip(numpy.asarray(scaled.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)
    tint = Image.new("RGB", image.size, OTHER)
    return Image.composite(tint, image.convert("L").convert("RGB"), Image.fromarray((share * 180).astype(numpy.uint8)))


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # part of Pillow, so it is the same on every machine
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: float, colour: str, size: int) -> None:
    """Write a line in ASCII, the only letters that the font has, cut to the width."""
    font, letters = _font(size), unicodedata.normalize("NFKD", text)
    text = "".join(one if one.isascii() else "?" for one in letters if not unicodedata.combining(one))
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    draw.text(place, text, colour, font, anchor="la")
