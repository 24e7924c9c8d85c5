"""One resizer: PIL's, for a PIL image or for a batch of tensors, which it equals bit for bit, pass by pass.

PIL widens its filter where it shrinks (antialiasing), its bicubic has a = -0.5 unlike torch's -0.75, and it rounds to
whole levels after each of two passes: along rows, then along columns. (Pillow 13 turns the passes round for some images
that shrink in height; its own results then differ from those of before by such roundings.)
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from recipes.boxes import double, short_side_size

PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
ONE = 2.0**22  # PIL's weights are whole multiples of 1 / ONE


def resized_crop(images: Tensor, boxes: Tensor, size: tuple[int, int], interpolation: str, beyond: bool) -> Tensor:
    """Cut each image's box and resize it to `size`: (B, C, H, W) uint8 -> (B, C, *size) uint8.

    Args:
        boxes: (B, 4) of top, left, height, width.
        beyond: whether the filter sees pixels beyond the box, or the box is cut out first.
    """
    top, left, height, width = double(boxes).unbind(1)
    across = resize_matrix(left, width, images.shape[3], size[1], interpolation, beyond)
    down = resize_matrix(top, height, images.shape[2], size[0], interpolation, beyond)
    rows = _rounded(torch.einsum("bchw,bjw->bchj", double(images), across))
    return _rounded(torch.einsum("bchj,bih->bcij", rows, down)).to(torch.uint8)


def resize_matrix(start: Tensor, length: Tensor, source: int, target: int, interpolation: str, beyond: bool) -> Tensor:
    """The matrices (B, target, source), in units of 1 / ONE, that resize the spans [start, start + length)."""
    start, length = start[:, None, None], length[:, None, None]
    pixels = torch.arange(source, device=start.device)
    scale = length / target
    widening = scale.clamp(min=1)
    centre = (torch.arange(target, device=start.device)[:, None] + 0.5) * scale
    x = ((pixels - start - centre + 0.5) / widening).abs()
    weights = _bilinear(x) if interpolation == "bilinear" else _bicubic(x)
    if not beyond:
        weights = weights * ((pixels >= start) & (pixels < start + length))
    weights = weights / weights.sum(dim=2, keepdim=True) * ONE
    return torch.trunc(weights + torch.where(weights < 0, -0.5, 0.5))


def pil_resized_crop(
    image: Image.Image, box: list[float], size: tuple[int, int], interpolation: str, beyond: bool
) -> Image.Image:
    """The same of one PIL image."""
    top, left, height, width = box
    corners = (left, top, left + width, top + height)
    if beyond:
        return image.resize(size[::-1], PIL_FILTERS[interpolation], box=corners)
    return image.crop(corners).resize(size[::-1], PIL_FILTERS[interpolation])


def pil_centre_crop(image: Image.Image, size: int, short: int, interpolation: str) -> Image.Image:
    """Resize the short side, then the central square of `size` pixels, its corner at the nearest pixel: torchvision."""
    width, height = short_side_size(*image.size, short)
    image = image.resize((width, height), PIL_FILTERS[interpolation])
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _bicubic(x: Tensor) -> Tensor:
    """Keys 1981 with a = -0.5."""
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _rounded(sums: Tensor) -> Tensor:
    """Sums of levels times weights, to whole levels."""
    return torch.floor((sums + ONE / 2) / ONE).clamp(0, 255)
