"""Crops and flips of images of one size, as pure functions of draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lineage.recipes.augment import boxes
from lineage.recipes.augment.randomness import ImageDraws
from lineage.recipes.augment.resizing import resized_crop
from lineage.recipes.recipe import Recipe

CROP_DRAWS = {"none": 0, "pad": 2, "rrc": 4 * boxes.TRIES, "scale_jitter": 3}


def fill_colour(mean: Sequence[float]) -> Tensor:
    """The mean colour, (C,) uint8, for pixels that move in; rounded as by timm."""
    return torch.tensor([round(255 * channel) for channel in mean], dtype=torch.uint8)


def crop_and_flip_draws(recipe: Recipe, seed: int, hflip: float, **more: int) -> ImageDraws:
    """What crop and flip draw of each image, and so many `more` numbers by name."""
    counts = {"crop": CROP_DRAWS[recipe.crop], "flip": int(hflip > 0), **more}
    once = ["flip"] if recipe.hflip_alternating else []
    return ImageDraws(seed, {name: count for name, count in counts.items() if count}, once)


def flip_mask(recipe: Recipe, hflip: float, draws: dict[str, Tensor], epoch: Tensor) -> Tensor | None:
    """Which images are seen in a mirror, (B,) bool; None: none.

    Alternating (Jordan 2024, arXiv 2404.00498, section 3.3): as drawn in the first epoch, then in turn.
    """
    if not hflip:
        return None
    drawn = draws["flip"][:, 0] < hflip
    return drawn ^ (epoch % 2 == 1) if recipe.hflip_alternating else drawn


def is_box_crop(recipe: Recipe) -> bool:
    """Whether the recipe's crop is a box of the image, which a source can read alone."""
    return recipe.crop in ("rrc", "scale_jitter")


def crop_boxes(recipe: Recipe, draws: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Boxes (B, 4) of a crop that is one: rrc or scale_jitter, of images of heights and widths (B,)."""
    if recipe.crop == "rrc":
        return boxes.random_resized_crop(draws, height, width, recipe.crop_scale, recipe.crop_ratio)
    return boxes.scale_jitter(draws, height, width, recipe.crop_scale, recipe.train_res)


def crop_and_flip(
    recipe: Recipe, draws: dict[str, Tensor], images: Tensor, fill: Tensor, mirror: Tensor | None, size: tuple[int, int]
) -> Tensor:
    """The recipe's crop and flip of images of one size: (B, C, H, W) uint8 -> (B, C, *size) uint8.

    Args:
        fill: (C,) uint8, the colour that `mean` pads with.
        mirror: (B,) bool, which are flip_mask.
    """
    if is_box_crop(recipe):
        height, width = _sides(images)
        cut = crop_boxes(recipe, draws["crop"], height, width)
        images = resized_crop(images, cut, size, recipe.interpolation, beyond=recipe.crop == "scale_jitter")
    elif recipe.crop == "pad":
        shift = (draws["crop"] * (2 * recipe.crop_padding + 1)).long()
        images = padded_shift(images, recipe.crop_padding, recipe.crop_padding_mode, fill, shift)
    if images.shape[2:] != size:
        height, width = _sides(images)
        whole = torch.stack((torch.zeros_like(height), torch.zeros_like(width), height, width), dim=1)
        images = resized_crop(images, whole, size, recipe.interpolation, beyond=False)
    return images if mirror is None else flip_images(images, mirror)


def flip_images(images: Tensor, mirror: Tensor) -> Tensor:
    """(B, C, H, W), those of `mirror`, (B,) bool, from right to left."""
    if images.device.type != "cpu":  # which the host would have to wait for
        return torch.where(mirror[:, None, None, None], images.flip(3), images)
    images = images.clone()
    for row in mirror.nonzero()[:, 0].tolist():  # a tenth of where's time at 224 px
        images[row] = images[row].flip(2)
    return images


def train_size(recipe: Recipe, epoch: int) -> int:
    """train_res, or the size of progressive_res in an epoch: of n sizes the i-th from epoch ceil(i epochs / n) on."""
    sizes = recipe.progressive_res or [recipe.train_res]
    return sizes[min(epoch * len(sizes) // recipe.epochs, len(sizes) - 1)]


def output_size(recipe: Recipe, native: tuple[int, int], epoch: int) -> tuple[int, int]:
    """Height and width at which images of one size are shown: their own; progressive_res scales it as train_res."""
    share = train_size(recipe, epoch) / recipe.train_res if recipe.progressive_res else 1
    height, width = (max(1, round(length * share)) for length in native)
    return height, width


def padded_shift(images: Tensor, padding: int, mode: str, fill: Tensor, shift: Tensor) -> Tensor:
    """Pad each side by `padding` and cut a window of the old size at the given shift: (B, C, H, W) uint8, kept.

    Args:
        mode: "reflect", "zero" or "mean"; the last two pad with 0 and with `fill`, (C,) uint8.
        shift: (B, 2) int64 in [0, 2 * padding], the window's top and left corner.
    """
    height, width = images.shape[2:]
    if mode == "reflect":
        padded = _reflect(_reflect(images, padding, 2), padding, 3)
    elif mode == "mean":
        padded = F.pad(images - fill.view(-1, 1, 1), (padding,) * 4) + fill.view(-1, 1, 1)  # levels wrap around at 256
    else:
        padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), a view
    return windows[torch.arange(len(images), device=images.device), :, shift[:, 0], shift[:, 1]]


def _sides(images: Tensor) -> tuple[Tensor, Tensor]:
    """The height and the width of each image, (B,) each."""
    height, width = (images.new_full((len(images),), side, dtype=torch.float32) for side in images.shape[2:])
    return height, width


def _reflect(images: Tensor, padding: int, dim: int) -> Tensor:
    length = images.shape[dim]
    before, after = images.narrow(dim, 1, padding), images.narrow(dim, length - 1 - padding, padding)
    return torch.cat((before.flip(dim), images, after.flip(dim)), dim=dim)
