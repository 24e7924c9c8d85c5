"""Pillow's resize for a batch of tensors, equal bit for bit. (datamodules/decoding/resampling.py is for single images.)

Pillow widens its filter when it shrinks (antialiasing), its bicubic has a = -0.5 unlike torch's -0.75, and it rounds to
integers after each of two passes: along rows, then along columns. (Pillow 13 swaps the passes for some images that
shrink in height, which changes those roundings.)
"""

import torch
from torch import Tensor

from lineage.recipes.augment.boxes import double

ONE = 2.0**22  # Pillow's weights are integer multiples of 1 / ONE


def resized_crop(images: Tensor, boxes: Tensor, size: tuple[int, int], interpolation: str, beyond: bool) -> Tensor:
    """Cut each image's box and resize it to `size`: (B, C, H, W) uint8 -> (B, C, *size) uint8.

    Args:
        boxes: (B, 4) of top, left, height, width.
        interpolation: area is the mean of the pixels whose centres a new pixel covers; a box that grows in one
            direction is resized by bilinear instead.
        beyond: whether the filter reads pixels outside the box; otherwise the box is cut out first.
    """
    top, left, height, width = double(boxes).unbind(1)
    grows = (height < size[0]) | (width < size[1]) if interpolation == "area" else None
    if images.shape[2] == images.shape[3] and size[0] == size[1]:  # both matrices by the same kernels
        start, length = torch.cat((left, top)), torch.cat((width, height))
        grows = None if grows is None else grows.repeat(2)
        across, down = resize_matrix(start, length, images.shape[2], size[0], interpolation, beyond, grows).chunk(2)
    else:
        across = resize_matrix(left, width, images.shape[3], size[1], interpolation, beyond, grows)
        down = resize_matrix(top, height, images.shape[2], size[0], interpolation, beyond, grows)
    rows = _rounded(torch.einsum("bchw,bjw->bchj", double(images), across))
    return _rounded(torch.einsum("bchj,bih->bcij", rows, down)).to(torch.uint8)


def resize_matrix(
    start: Tensor, length: Tensor, source: int, target: int, interpolation: str, beyond: bool, grows: Tensor | None
) -> Tensor:
    """Matrices (B, target, source), in units of 1 / ONE, that resize the intervals [start, start + length)."""
    start, length = start[:, None, None], length[:, None, None]
    pixels = torch.arange(source, device=start.device)
    scale = length / target
    widening = scale.clamp(min=1)
    centre = (torch.arange(target, device=start.device)[:, None] + 0.5) * scale
    x = (pixels - start - centre + 0.5) * (1 / widening)
    weights = _bicubic(x) if interpolation == "bicubic" else (1 - x.abs()).clamp(min=0)
    if grows is not None:  # area; Pillow's rounding decides which side a pixel on the edge belongs to
        low, high = (torch.floor(centre + side * widening + 0.5) for side in (-0.5, 0.5))
        covered = double((pixels - start >= low) & (pixels - start < high) & (x > -0.5) & (x <= 0.5))
        weights = torch.where(grows[:, None, None], weights, covered)
    if not beyond:
        weights = weights * ((pixels >= start) & (pixels < start + length))
    weights = weights / weights.sum(dim=2, keepdim=True) * ONE
    return torch.trunc(torch.add(weights, weights.sign(), alpha=0.5))  # half away from zero


def _bicubic(x: Tensor) -> Tensor:
    """Keys 1981 with a = -0.5."""
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, far * (x < 2))


def _rounded(sums: Tensor) -> Tensor:
    """Sums of levels times weights to integer levels."""
    return torch.floor((sums + ONE / 2) / ONE).clamp(0, 255)
