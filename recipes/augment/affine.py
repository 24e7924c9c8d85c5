"""Shears and translations of single images, as in timm's policies, in a third of Pillow's time.

Pillow's affine transform reads sixteen pixels for each new one, in float64: 3 to 4 ms for 224 x 224 by bicubic, most of
RandAugment's cost. But these operations shift each row (or column) as a whole, so four pixels are enough, with the same
weights for the whole row. The weights are Pillow's (whose bicubic here has a = -1), rounded to 15 bits, so that sums
are exact in float32, in any order, on any machine. Sums are truncated, as in Pillow. Of 10,000 values 4 differ from
Pillow's, by one level; more do where a shift is a round decimal such as 0.2 of a pixel, where Pillow's own result
depends on its rounding.
"""

from functools import partial

import numpy
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

ONE = 2.0**15  # weights are integer multiples of 1 / ONE


def shift_image(
    image: Image.Image, amount: float, *, resample: Image.Resampling, fillcolor: tuple[int, ...], unit: str,
    vertical: bool,
) -> Image.Image:  # fmt: skip
    """Shear or translate an RGB image horizontally.

    Args:
        amount: how far to the right of each new pixel its value is read, in `unit`.
        resample: bilinear or bicubic.
        fillcolor: of pixels that are read outside the image.
        unit: "pixels"; "width", the width of the image; "rows", pixels for each row below the top edge, for a shear.
        vertical: shear or translate it vertically instead.
    """
    if vertical:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    pixels = numpy.asarray(image)
    rows = numpy.arange(len(pixels))[:, None]
    shift = (rows + 0.5) * amount if unit == "rows" else rows * 0 + amount * (image.width if unit == "width" else 1)
    shifted = Image.fromarray(shift_rows(pixels, shift, resample, fillcolor))
    return shifted.transpose(Image.Transpose.TRANSPOSE) if vertical else shifted


def shift_rows(
    pixels: numpy.ndarray, shift: numpy.ndarray, resample: Image.Resampling, fill: tuple[int, ...]
) -> numpy.ndarray:
    """(H, W, C) uint8 -> the same, where pixel x of row y is the old one at x + shift[y].

    Args:
        shift: (H, 1) float64.
        resample: bilinear or bicubic, as in Image.transform.
        fill: C levels, for pixels whose centre was outside.
    """
    height, width, channels = pixels.shape
    shift = shift.clip(-width - 1, width + 1)
    whole = numpy.floor(shift)
    weights, neighbours = _weights(shift - whole, resample), _neighbours(pixels, whole[:, 0].astype(int))
    first, *others = zip(weights, neighbours if len(weights) == 4 else neighbours[1:3], strict=True)
    result = torch.mul(*first)
    for weight, neighbour in others:
        result.addcmul_(weight, neighbour)
    shifted = numpy.empty((height, width * channels), numpy.uint8)
    numpy.copyto(shifted, result.clamp_(0, 255).numpy(), casting="unsafe")  # truncates
    ends = [numpy.ceil(edge - 0.5 - shift).astype(numpy.int16).clip(0, width) * channels for edge in (0, width)]
    x, colours = numpy.arange(width * channels, dtype=numpy.int16), numpy.array(fill * width, numpy.uint8)
    left, right = slice(ends[0].max()), slice(ends[1].min(), None)  # columns with pixels that were outside
    numpy.copyto(shifted[:, left], colours[left], where=x[left] < ends[0])
    numpy.copyto(shifted[:, right], colours[right], where=x[right] >= ends[1])
    return shifted.reshape(pixels.shape)


def _weights(part: numpy.ndarray, resample: Image.Resampling) -> torch.Tensor:
    """Fractions (H, 1) to weights (4, H, 1) of the pixels at -1, 0, 1 and 2; bilinear: (2, H, 1), at 0 and 1."""
    rest, zero = 1 - part, 0 * part
    if resample is Image.Resampling.BILINEAR:
        exact, main = numpy.stack((zero, part)), 0
    else:
        exact, main = numpy.stack((-part * rest * rest, zero, part * (1 + part * rest), -part * part * rest)), 1
    weights = numpy.rint(exact * ONE) / ONE
    weights[main] = 1 - weights.sum(0)  # so that flat colours stay as they are
    return torch.from_numpy(weights.astype(numpy.float32))


def _neighbours(pixels: numpy.ndarray, whole: numpy.ndarray) -> list[torch.Tensor]:
    """The old pixels at x + whole[y] - 1, + 0, + 1 and + 2: four views (H, W * C) float32 of one array.

    Each edge pixel is repeated twice beyond the edge. Farther pixels, which are outside, are undefined.
    """
    height, width, channels = pixels.shape
    left, right = max(2, 1 - int(whole.min())), max(2, int(whole.max()) + 2)
    wide = numpy.empty((height, left + width + right, channels), numpy.uint8)
    wide[:, left : left + width] = pixels
    wide[:, left - 2 : left] = pixels[:, :1]
    wide[:, left + width : left + width + 2] = pixels[:, -1:]
    windows = sliding_window_view(wide.reshape(height, -1), (width + 3) * channels, axis=1)
    values = torch.from_numpy(windows[numpy.arange(height), (left - 1 + whole) * channels]).float()
    return [values[:, i * channels : (i + width) * channels] for i in range(4)]


# By the names of the timm functions that they replace.
AFFINE_OPERATIONS = {
    f"{name}_{axis}{suffix}": partial(shift_image, unit=unit, vertical=axis == "y")
    for axis in "xy"
    for name, suffix, unit in (("shear", "", "rows"), ("translate", "_rel", "width"), ("translate", "_abs", "pixels"))
}
