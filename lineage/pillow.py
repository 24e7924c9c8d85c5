"""Pillow's filters by the names that recipes use, a crop that they choose, and Pillow's images as arrays."""

from typing import NamedTuple

import numpy
from PIL import Image

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "area": Image.Resampling.BOX}


class CropResize(NamedTuple):
    """A box of a photograph, and the size to resize it to.

    box: top, left, height, width in pixels. interpolation: a key of FILTERS. beyond: whether the filter reads pixels
    outside the box. resize_to: None; or the size of the whole photograph, resized, whose central `size` has exactly
    Pillow's pixels.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    interpolation: str
    beyond: bool
    resize_to: tuple[int, int] | None = None


def to_picture(pixels: numpy.ndarray) -> Image.Image:
    """(H, W, C) uint8 of one or three channels as a Pillow image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def to_pixels(picture: Image.Image) -> numpy.ndarray:
    """A grey or RGB Pillow image as (H, W, C) uint8."""
    pixels = numpy.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
