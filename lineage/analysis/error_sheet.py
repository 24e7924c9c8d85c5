"""The pictures of a test that dashboards show: what was taken for what, and the images most confidently wrong."""

from collections.abc import Sequence

import numpy
from numpy import ndarray
from PIL import Image, ImageColor, ImageDraw

from lineage.analysis import measures
from lineage.analysis.contact_sheet import CELL, INK, OTHER, OWN, SMALL, SOFT, WITHIN, fitted, font_of, truncated
from lineage.analysis.record import Record

NAMED = 40  # classes, up to which the matrix has names and numbers
NAME, SIDE = 180, 900  # pixels of a name, and of a matrix without names
PER_ROW, LINE = 6, 22


def confusion(record: Record) -> Image.Image:
    """A row for each true class, a column for each prediction; the darker, the larger the share of the row."""
    count = len(record.classes)
    counts = measures.confusion(record.label, record.predicted, count)
    share = counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    right, wrong = (numpy.array(ImageColor.getrgb(colour)) for colour in (OWN, OTHER))
    full = numpy.where(numpy.eye(count, dtype=bool)[..., None], right, wrong)
    pixels = (255 - share[..., None] ** 0.5 * (255 - full)).astype(numpy.uint8)
    if count > NAMED:
        side = count * max(SIDE // count, 1)
        return Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)

    cell, font = 32, font_of(SMALL)
    sheet = Image.new("RGB", (NAME + count * cell,) * 2, "white")
    sheet.paste(Image.fromarray(pixels).resize((count * cell,) * 2, Image.Resampling.NEAREST), (NAME, NAME))
    for turned, place, anchor in ((False, (0, NAME), "rm"), (True, (NAME, 0), "lm")):
        names = Image.new("RGB", (NAME, count * cell), "white")
        for row, name in enumerate(record.classes):
            at = (6 if turned else NAME - 6, row * cell + cell // 2)
            ImageDraw.Draw(names).text(at, truncated(name, font, NAME - 12), INK, font, anchor=anchor)
        sheet.paste(names.rotate(90, expand=True) if turned else names, place)
    for line, text in enumerate(("rows: class", "columns: prediction")):
        ImageDraw.Draw(sheet).text((8, 8 + LINE * line), text, SOFT, font, anchor="la")
    return sheet


def wrong_images(record: Record, rows: Sequence[int], images: Sequence[ndarray]) -> Image.Image:
    """Images (H, W, C) uint8 of some rows of a record, each above its class, the prediction and its probability."""
    height, font = CELL + 2 * LINE + 12, font_of(SMALL)
    size = (min(len(rows), PER_ROW) * (CELL + WITHIN), -(-len(rows) // PER_ROW) * height)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, (row, pixels) in enumerate(zip(rows, images, strict=True)):
        left, top = place % PER_ROW * (CELL + WITHIN), place // PER_ROW * height
        sheet.paste(fitted(numpy.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3))), (left, top))
        true, answer = record.classes[int(record.label[row])], record.classes[int(record.predicted[row])]
        said = f"taken for {answer}, {record.confidence[row]:.3f}"
        for line, (text, colour) in enumerate(((true, OWN), (said, OTHER))):
            draw.text((left, top + CELL + 4 + LINE * line), truncated(text, font, CELL), colour, font, anchor="la")
    return sheet
