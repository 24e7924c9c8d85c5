"""Resizing a box of a decoded image with antialiasing: Pillow's own result, or nearly the same in a fifth of the time.

The fast functions have Pillow's filters: torch's for a box in colour on a CPU with AVX2, cykooz-resizer's for the rest,
which Pillow resizes where that package has no wheel (Linux on ARM, musl).
They round weights to 16 bits and may swap the two passes. Their results are 0.05 and 0.15 levels of 255 from Pillow's
on average, more only where bicubic overshoots. Training uses these. Evaluation uses Pillow's, which published
accuracies were measured with.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy
from PIL import Image

from lineage.pillow import FILTERS, to_picture, to_pixels

HAS_CYKOOZ = find_spec("cykooz_resizer") is not None
Box = tuple[float, float, float, float]  # top, left, height, width


def resize_box(
    pixels: numpy.ndarray, box: Box, size: tuple[int, int], interpolation: str, beyond: bool
) -> numpy.ndarray:
    """Resize a box of (H, W, C) uint8 to `size`, fast: (*size, C) uint8.

    Args:
        box: of whole pixels, unless `beyond`.
        interpolation: a key of lineage.pillow.FILTERS. area, the mean of the pixels whose centres a new pixel covers,
            is for shrinking: a box that grows in one direction is resized by bilinear.
        beyond: whether the filter reads pixels outside the box; otherwise the box is cropped first.
    """
    top, left, height, width = box
    if not beyond:
        pixels = pixels[round(top) : round(top + height), round(left) : round(left + width)]
        top, left, height, width = 0, 0, *pixels.shape[:2]
    height, width = min(height, pixels.shape[0] - top), min(width, pixels.shape[1] - left)  # arithmetic may round up
    if (height, width) == size and top == round(top) and left == round(left):
        return pixels[round(top) : round(top) + size[0], round(left) : round(left) + size[1]]
    if interpolation == "area" and (height < size[0] or width < size[1]):
        interpolation = "bilinear"
    if not beyond and pixels.shape[2] == 3 and interpolation != "area" and _torch_is_fast():
        return _resize_by_torch(pixels, size, interpolation)
    if not HAS_CYKOOZ:
        part = (left, top, min(left + width, pixels.shape[1]), min(top + height, pixels.shape[0]))
        return to_pixels(to_picture(pixels).resize(size[::-1], FILTERS[interpolation], part))
    cykooz, resizer, algorithms = _cykooz()
    kind = {1: cykooz.PixelType.U8, 3: cykooz.PixelType.U8x3}[pixels.shape[2]]
    source = cykooz.ImageData(pixels.shape[1], pixels.shape[0], kind, pixels.tobytes())
    target = cykooz.ImageData(size[1], size[0], kind)
    options = cykooz.ResizeOptions(
        resize_alg=algorithms[interpolation],
        crop_box=cykooz.CropBox(left, top, width, height) if beyond else None,
        use_alpha=False,
    )
    resizer.resize(source, target, options)
    return numpy.frombuffer(target.get_buffer(), numpy.uint8).reshape(*size, pixels.shape[2])


def _resize_by_torch(pixels: numpy.ndarray, size: tuple[int, int], interpolation: str) -> numpy.ndarray:
    """Resize (H, W, 3) uint8 to `size`. F.interpolate(antialias=True) is slow because its result is not channels last;
    the operator behind it writes to a tensor that is."""
    import torch

    result = torch.empty((1, *size, 3), dtype=torch.uint8)
    source = torch.from_numpy(numpy.array(pixels, order="C")[None])
    resize = getattr(torch.ops.aten, f"_upsample_{interpolation}2d_aa").out
    resize(source.permute(0, 3, 1, 2), size, False, out=result.permute(0, 3, 1, 2))
    return result[0].numpy()


def resize_and_crop_by_pillow(
    image: Image.Image, resize_to: tuple[int, int], size: tuple[int, int], interpolation: str
) -> numpy.ndarray:
    """Resize a picture to `resize_to` and crop the central `size`: (*size, C) uint8, Pillow's pixels.

    Pillow resizes along rows and then along columns, and rounds to integers after each. So the columns outside the crop
    can be left out between the two. For some heights Pillow 13 begins with columns.

    The corner is rounded to the nearest pixel, as in torchvision.
    """
    (height, width), kernel = resize_to, FILTERS[interpolation]
    top, left = (round((long - short) / 2) for long, short in zip(resize_to, size, strict=True))
    if image.height - height > max(0, 2 * (image.width - width)):
        return to_pixels(image.resize((width, height), kernel).crop((left, top, left + size[1], top + size[0])))
    rows = image.resize((width, image.height), kernel).crop((left, 0, left + size[1], image.height))
    return to_pixels(rows.resize((size[1], height), kernel).crop((0, top, size[1], top + size[0])))


@cache
def _torch_is_fast() -> bool:
    """With AVX2. Without it, torch takes eight times as long as cykooz-resizer."""
    import torch

    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@cache
def _cykooz() -> tuple[Any, Any, dict[str, Any]]:
    """The package, its resizer, and its algorithm for each of our filters."""
    import cykooz_resizer as package

    filters = package.FilterType
    names = {"bilinear": filters.bilinear, "bicubic": filters.catmull_rom, "area": filters.box}  # a = -0.5 both
    return package, package.Resizer(), {key: package.ResizeAlg.convolution(value) for key, value in names.items()}
