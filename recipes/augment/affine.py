"""Shears and translations of single images along an axis, as timm's policies draw them, in a third of Pillow's time.

Pillow's affine transform takes sixteen pixels for each new one, in float64 and one after the other: 3 to 4 ms for 224 x
224 by bicubic, most of what RandAugment costs. Along an axis each row of an image moves as a whole, so that four pixels
do, with the same weights for all of a row. They are Pillow's (its bicubic here has a = -1) to 15 bits, with which sums
are exact in float32, in any order, on any machine. Fractions are cut, as in Pillow: of 10,000 values 4 differ, by one
level; more where rows move by a round part of a pixel, as 0.2, of which Pillow's own results hang on its rounding.
"""

from __future__ import annotations

from functools import partial

import numpy
import torch
from PIL import Image

ONE = 2.0**15  # weights are whole multiples of 1 / ONE


def move(
    image: Image.Image,
    amount: float,
    *,
    resample: Image.Resampling,
    fillcolor: tuple[int, ...],
    of: str,
    down: bool = False,
) -> Image.Image:
    """Move the rows of an RGB image; what moves in has the colour `fillcolor`.

    Args:
        amount: how far to the right of a new pixel its old one is.
        resample: bilinear or bicubic.
        of: what the amount counts: "rows", pixels for each row below the upper edge, which is a shear; "width", the
            image's; "pixels".
        down: move its columns, as if the image lay on its side.
    """
    if down:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    pixels = numpy.asarray(image)
    rows = numpy.arange(len(pixels))[:, None]
    shift = (rows + 0.5) * amount if of == "rows" else rows * 0 + amount * (image.width if of == "width" else 1)
    moved = Image.fromarray(shift_rows(pixels, shift, resample, fillcolor))
    return moved.transpose(Image.Transpose.TRANSPOSE) if down else moved


def shift_rows(
    pixels: numpy.ndarray, shift: numpy.ndarray, resample: Image.Resampling, fill: tuple[int, ...]
) -> numpy.ndarray:
    """(H, W, C) uint8 -> the same, where pixel x of row y is what was at x + shift[y].

    Args:
        shift: (H, 1) float64.
        resample: bilinear or bicubic, as Image.transform has them.
        fill: C levels, for pixels whose centre was outside.
    """
    height, width, channels = pixels.shape
    shift = shift.clip(-width - 1, width + 1)
    place = numpy.floor(shift)
    weights, neighbours = _weights(shift - place, resample), _neighbours(pixels, place.astype(numpy.int64))
    first, *others = zip(weights, neighbours if len(weights) == 4 else neighbours[1:3], strict=True)
    result = torch.mul(*first)
    for weight, neighbour in others:
        result.addcmul_(weight, neighbour)
    moved = numpy.empty((height, width * channels), numpy.uint8)
    numpy.copyto(moved, result.clamp_(0, 255).numpy(), casting="unsafe")  # cuts fractions
    _fill_outside(moved, shift, fill)
    return moved.reshape(pixels.shape)


def _weights(part: numpy.ndarray, resample: Image.Resampling) -> torch.Tensor:
    """Of the pixel before, the one at, the one after and the one beyond it, bilinear of the middle two: (4 or 2, H, 1)
    float32 for (H, 1) float64."""
    rest, none = 1 - part, 0 * part
    if resample is Image.Resampling.BILINEAR:
        exact, at = numpy.stack((none, part)), 0
    else:
        exact, at = numpy.stack((-part * rest * rest, none, part * (1 + part * rest), -part * part * rest)), 1
    weights = numpy.rint(exact * ONE) / ONE
    weights[at] = 1 - weights.sum(0)  # flat colours stay what they are
    return torch.from_numpy(weights.astype(numpy.float32))


def _neighbours(pixels: numpy.ndarray, place: numpy.ndarray) -> list[torch.Tensor]:
    """Each new pixel's four old ones, the second at x + place[y]: four times (H, W * C) float32, of one memory.

    Beyond an edge the pixel at the edge stands for two more; beyond those is anything, which _fill_outside covers.
    """
    height, width, channels = pixels.shape
    left, right = max(2, 1 - int(place.min())), max(2, int(place.max()) + 2)
    row = left + width + right
    wide = numpy.empty((height, row, channels), numpy.uint8)
    wide[:, left : left + width] = pixels
    wide[:, left - 2 : left] = pixels[:, :1]
    wide[:, left + width : left + width + 2] = pixels[:, -1:]
    starts = (numpy.arange(left - 1, height * row, row) + place[:, 0]) * channels
    length = (width + 3) * channels
    windows = numpy.ndarray((wide.size - length + 1, length), numpy.uint8, wide, strides=(1, 1))
    values = torch.from_numpy(windows[starts]).float()
    return [values[:, i * channels : (i + width) * channels] for i in range(4)]


def _fill_outside(moved: numpy.ndarray, shift: numpy.ndarray, fill: tuple[int, ...]) -> None:
    channels = len(fill)
    width = moved.shape[1] // channels
    first = numpy.ceil(-0.5 - shift).astype(numpy.int16).clip(0, width)  # of each row's pixels that were inside
    end = numpy.ceil(width - 0.5 - shift).astype(numpy.int16).clip(0, width)
    left, right = int(first.max()) * channels, int(end.min()) * channels
    colours = numpy.array(fill * width, numpy.uint8)
    x = numpy.arange(width * channels, dtype=numpy.int16)
    if left > 0:
        numpy.copyto(moved[:, :left], colours[:left], where=x[:left] < first * channels)
    if right < len(x):
        numpy.copyto(moved[:, right:], colours[right:], where=x[right:] >= end * channels)


# Under the names of timm's functions, which they stand for.
AFFINE_OPERATIONS = {
    f"{name}_{axis}{unit}": partial(move, of=of, down=axis == "y")
    for axis in "xy"
    for name, unit, of in (("shear", "", "rows"), ("translate", "_rel", "width"), ("translate", "_abs", "pixels"))
}
