"""Boxes of decoded images at another size, antialiased: Pillow's own result, or nearly that in a fifth of the time.

The fast ones have Pillow's filters: torch's, of a box of colours on a CPU with AVX2, and cykooz-resizer of anything
else. They round weights to 16 bits and their two passes may come in the other order: 0.05 and 0.15 levels of 255 from
Pillow on average, more only where bicubic overshoots. Training sees these; evaluation Pillow's, since published
accuracies are of it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy
from PIL import Image

Box = tuple[float, float, float, float]  # top, left, height, width
PIL_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
}


def resize_box(
    pixels: numpy.ndarray, box: Box, size: tuple[int, int], interpolation: str, beyond: bool
) -> numpy.ndarray:
    """A box of (H, W, C) uint8 at `size`: (*size, C) uint8, fast.

    Args:
        box: of whole pixels, unless `beyond`.
        interpolation: a key of PIL_FILTERS. area, the mean of the pixels whose centres a new pixel covers, is for
            shrinking: a box that grows in a direction is resized by bilinear.
        beyond: whether the filter sees pixels beyond the box, or the box is cut out first.
    """
    top, left, height, width = box
    if not beyond:
        pixels = pixels[round(top) : round(top + height), round(left) : round(left + width)]
        top, left, height, width = 0, 0, *pixels.shape[:2]
    if (height, width) == size and top == round(top) and left == round(left):
        return pixels[round(top) : round(top) + size[0], round(left) : round(left) + size[1]]
    if interpolation == "area" and (height < size[0] or width < size[1]):
        interpolation = "bilinear"
    if not beyond and pixels.shape[2] == 3 and interpolation != "area" and _torch_is_fast():
        return _by_torch(pixels, size, interpolation)
    tools = _tools()
    kind = {1: tools.PixelType.U8, 3: tools.PixelType.U8x3}[pixels.shape[2]]
    source = tools.ImageData(pixels.shape[1], pixels.shape[0], kind, pixels.tobytes())
    target = tools.ImageData(size[1], size[0], kind)
    options = tools.ResizeOptions(
        resize_alg=_algorithm(interpolation),
        crop_box=tools.CropBox(left, top, width, height) if beyond else None,
        use_alpha=False,
    )
    _resizer().resize(source, target, options)
    return numpy.frombuffer(target.get_buffer(), numpy.uint8).reshape(*size, pixels.shape[2])


def _by_torch(pixels: numpy.ndarray, size: tuple[int, int], interpolation: str) -> numpy.ndarray:
    """All of (H, W, 3) uint8 at `size`, as F.interpolate(antialias=True), which is slow as it cannot be told where to
    write: the result's channels have to be last too."""
    import torch

    result = torch.empty((1, *size, 3), dtype=torch.uint8)
    source = torch.from_numpy(numpy.array(pixels, order="C")[None])
    resize = getattr(torch.ops.aten, f"_upsample_{interpolation}2d_aa").out
    resize(source.permute(0, 3, 1, 2), size, False, out=result.permute(0, 3, 1, 2))
    return result[0].numpy()


def resize_and_crop_by_pillow(
    pixels: numpy.ndarray, whole: tuple[int, int], size: tuple[int, int], interpolation: str
) -> Any:
    """Resize (H, W, C) uint8 to `whole` and cut the central `size` out: (*size, C) uint8, Pillow's pixels.

    The corner is at the nearest pixel, as in torchvision.
    """
    image = to_picture(pixels).resize(whole[::-1], PIL_FILTERS[interpolation])
    top, left = (round((long - short) / 2) for long, short in zip(whole, size, strict=True))
    return to_pixels(image.crop((left, top, left + size[1], top + size[0])))


def to_picture(pixels: numpy.ndarray) -> Image.Image:
    """(H, W, C) uint8 of one or three channels as a Pillow image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def to_pixels(picture: Image.Image) -> numpy.ndarray:
    """A Pillow image, grey or RGB, as (H, W, C) uint8."""
    pixels = numpy.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


@cache
def _torch_is_fast() -> bool:
    """Elsewhere it takes eight times as long as cykooz-resizer."""
    import torch

    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@cache
def _tools() -> Any:
    import cykooz_resizer

    return cykooz_resizer


@cache
def _resizer() -> Any:
    return _tools().Resizer()


@cache
def _algorithm(interpolation: str) -> Any:
    filters = _tools().FilterType
    names = {"bilinear": filters.bilinear, "bicubic": filters.catmull_rom, "area": filters.box}  # a = -0.5 both
    return _tools().ResizeAlg.convolution(names[interpolation])
