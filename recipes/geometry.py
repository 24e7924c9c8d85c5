"""Crops and flips as pure functions of the image's origin, for batches of one size and for single PIL images.

A crop is a box in the source, then a resize to the output. Boxes come from `crop_boxes`, whatever the images are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from recipes.randomness import uniform
from recipes.recipe import Recipe

PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def fill_colour(mean: Sequence[float]) -> Tensor:
    """The mean colour, (C,) uint8, for pixels that move in."""
    return (torch.tensor(list(mean)) * 255).round().to(torch.uint8)


def crop_and_flip(recipe: Recipe, seed: int, hflip: float, fill: Tensor, images: Tensor, origin: Tensor) -> Tensor:
    """The recipe's crop, back to the old size, and flip of images of one size: (B, C, H, W) uint8, kept."""
    if recipe.crop == "pad":
        steps = 2 * recipe.crop_padding + 1
        shift = (uniform(seed, "crop", origin, 2) * steps).long()
        images = padded_shift(images, recipe.crop_padding, recipe.crop_padding_mode, fill, shift)
    elif recipe.crop != "none":
        size = (images.shape[2], images.shape[3])
        height, width = (torch.full_like(origin[:, 0], side) for side in size)
        boxes = crop_boxes(recipe, seed, origin, height, width)
        images = resized_crop(images, boxes, size, recipe.interpolation)
    if hflip:
        images = flip(images, uniform(seed, "flip", origin, 1)[:, 0] < hflip)
    return images


def crop_boxes(recipe: Recipe, seed: int, origin: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Boxes (B, 4) float32 of top, left, height, width, for images of the given sizes, (B,) each.

    rrc: Szegedy et al. 2014 as in torchvision: ten tries of area and ratio, whole pixels, else a central box.
    scale_jitter: He et al. 2015: the short side resized to U[low, high], a random crop of train_res; as a box in the
    source it is square, of side short * train_res / U.
    """
    tries = 10
    u = uniform(seed, "crop", origin, 4 * tries).view(-1, 4, tries)
    height, width = height[:, None].float(), width[:, None].float()
    if recipe.crop == "scale_jitter":
        low, high = recipe.crop_scale
        side = torch.minimum(height, width)[:, 0] * recipe.train_res / (low + (high - low) * u[:, 0, 0])
        top, left = (height[:, 0] - side) * u[:, 1, 0], (width[:, 0] - side) * u[:, 2, 0]
        return torch.stack((top, left, side, side), dim=1)

    (low, high), (narrow, wide) = recipe.crop_scale, recipe.crop_ratio
    area = height * width * (low + (high - low) * u[:, 0])  # (B, tries)
    ratio = torch.exp(math.log(narrow) + (math.log(wide) - math.log(narrow)) * u[:, 1])
    w, h = torch.round(torch.sqrt(area * ratio)), torch.round(torch.sqrt(area / ratio))
    fits = (w <= width) & (h <= height) & (w > 0) & (h > 0)
    first = torch.argmax(fits.int(), dim=1, keepdim=True)
    w, h = w.gather(1, first), h.gather(1, first)
    top = torch.floor(u[:, 2].gather(1, first) * (height - h + 1))
    left = torch.floor(u[:, 3].gather(1, first) * (width - w + 1))
    boxes = torch.cat((top, left, h, w), dim=1)

    fallback_w = torch.minimum(width, torch.round(height * wide))  # the central box of the nearest allowed ratio
    fallback_h = torch.minimum(height, torch.round(width / narrow))
    top, left = torch.floor((height - fallback_h) / 2), torch.floor((width - fallback_w) / 2)
    return torch.where(fits.any(1, keepdim=True), boxes, torch.cat((top, left, fallback_h, fallback_w), dim=1))


def resize_matrix(start: Tensor, length: Tensor, source: int, target: int, interpolation: str) -> Tensor:
    """The matrices (B, target, source) that resize the spans [start, start + length) to `target` pixels, as PIL does.

    PIL widens its filter when it shrinks (antialiasing); the bicubic has a = -0.5, unlike torch's -0.75.
    """
    pixels = torch.arange(source, device=start.device)
    scale = (length / target)[:, None, None]
    centre = start[:, None, None] + (torch.arange(target, device=start.device)[:, None] + 0.5) * scale
    x = ((pixels + 0.5 - centre) / scale.clamp(min=1)).abs()
    if interpolation == "bilinear":
        weights = (1 - x).clamp(min=0)
    else:
        near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    first = torch.floor(start)[:, None, None]
    inside = (pixels >= first) & (pixels < torch.ceil(start + length)[:, None, None])
    weights = weights * inside
    return weights / weights.sum(dim=2, keepdim=True)


def resized_crop(images: Tensor, boxes: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Cut each image's box and resize it to `size`: (B, C, H, W) uint8 -> (B, C, *size) uint8."""
    top, left, height, width = boxes.unbind(1)
    rows = resize_matrix(top, height, images.shape[2], size[0], interpolation)
    columns = resize_matrix(left, width, images.shape[3], size[1], interpolation)
    across = torch.einsum("bchw,bjw->bchj", images.float(), columns).add(0.5).floor().clamp(0, 255)  # as PIL does
    return torch.einsum("bchj,bih->bcij", across, rows).add(0.5).floor().clamp(0, 255).to(torch.uint8)


def padded_shift(images: Tensor, padding: int, mode: str, fill: Tensor, shift: Tensor) -> Tensor:
    """Pad each side by `padding` and cut a window of the old size at the given shift: (B, C, H, W) uint8, kept.

    Args:
        mode: "reflect", "zero" or "mean"; the last two pad with 0 and with `fill`, (C,) uint8.
        shift: (B, 2) int64 in [0, 2 * padding], the window's top and left corner.
    """
    batch, channels, height, width = images.shape
    if mode == "reflect":
        rows = _reflect(torch.arange(-padding, height + padding, device=images.device), height)
        columns = _reflect(torch.arange(-padding, width + padding, device=images.device), width)
        padded = images[:, :, rows][:, :, :, columns]
    elif mode == "mean":
        padded = fill.view(1, channels, 1, 1).repeat(batch, 1, height + 2 * padding, width + 2 * padding)
        padded[:, :, padding : padding + height, padding : padding + width] = images
    else:
        padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), a view
    return windows[torch.arange(batch, device=images.device), :, shift[:, 0], shift[:, 1]]


def _reflect(index: Tensor, length: int) -> Tensor:
    return (length - 1) - (length - 1 - index.abs()).abs()


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the images for which `mirrored`, (B,) bool, holds."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def pil_resized_crop(image: Image.Image, box: list[float], size: tuple[int, int], interpolation: str) -> Image.Image:
    """The same on one PIL image; `box` is top, left, height, width."""
    top, left, height, width = box
    return image.resize(size[::-1], PIL_FILTERS[interpolation], box=(left, top, left + width, top + height))


def pil_centre_crop(image: Image.Image, size: int, ratio: float, interpolation: str) -> Image.Image:
    """Short side to floor(size / ratio), as timm, then the central square of `size` pixels.

    The long side is rounded down and the offsets are rounded to the nearest pixel, as in torchvision.
    """
    short = math.floor(size / ratio)
    width, height = image.size
    scale = short / min(width, height)
    new = (short, int(height * scale)) if width <= height else (int(width * scale), short)
    image = image.resize(new, PIL_FILTERS[interpolation])
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))
