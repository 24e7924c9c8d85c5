"""Crops and flips of images of one size, as pure functions of draws."""

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
    """The mean colour, (C,) uint8, for empty pixels; rounded as in timm."""
    return torch.tensor([round(255 * channel) for channel in mean], dtype=torch.uint8)


def crop_and_flip_draws(recipe: Recipe, seed: int, **more: int) -> ImageDraws:
    """The random numbers of crop and flip for each image, and `more`: counts by name."""
    counts = {"crop": CROP_DRAWS[recipe.crop], "flip": int(recipe.hflip > 0), **more}
    return ImageDraws(seed, counts, once=["flip"] if recipe.hflip_alternating else [])


def is_box_crop(recipe: Recipe) -> bool:
    """Whether the recipe's crop is a box of the image, so that a decoder may read that box alone."""
    return recipe.crop in ("rrc", "scale_jitter")


def crop_boxes(recipe: Recipe, draws: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """The boxes (B, 4) of rrc or scale_jitter, for images of heights and widths (B,)."""
    if recipe.crop == "rrc":
        return boxes.random_resized_crop(draws, height, width, recipe.crop_scale, recipe.crop_ratio)
    return boxes.scale_jitter(draws, height, width, recipe.crop_scale, recipe.train_res)


def crop_and_flip(
    recipe: Recipe, draws: dict[str, Tensor], images: Tensor, sample_keys: Tensor, fill: Tensor, epoch: int
) -> Tensor:
    """The recipe's crop and flip of images of one size: (B, C, H, W) uint8 -> the same, of output_size.

    A flip is drawn in each epoch or, alternating (Jordan 2024, arXiv 2404.00498, section 3.3), in the first one alone,
    and in every other epoch the other images are flipped.

    Args:
        fill: (C,) uint8, the colour of padding mode "mean".
        epoch: that of the sample keys: reading it from them would make the host wait.
    """
    size = output_size(recipe, (images.shape[2], images.shape[3]), epoch)
    if is_box_crop(recipe):
        box = crop_boxes(recipe, draws["crop"], *sides(images))
        images = resized_crop(images, box, size, recipe.interpolation, beyond=recipe.crop == "scale_jitter")
    elif recipe.crop == "pad":
        shift = (draws["crop"] * (2 * recipe.crop_padding + 1)).long()
        images = padded_shift(images, recipe.crop_padding, recipe.crop_padding_mode, fill, shift)
    if images.shape[2:] != size:
        height, width = sides(images)
        whole = torch.stack((torch.zeros_like(height), torch.zeros_like(width), height, width), dim=1)
        images = resized_crop(images, whole, size, recipe.interpolation, beyond=False)
    if not recipe.hflip:
        return images
    flip = draws["flip"][:, 0] < recipe.hflip
    return flip_images(images, flip ^ (sample_keys[:, 0] % 2 == 1) if recipe.hflip_alternating else flip)


def sides(images: Tensor) -> list[Tensor]:
    """Height and width of each image, (B,) float32."""
    return [images.new_full((len(images),), side, dtype=torch.float32) for side in images.shape[2:]]


def flip_images(images: Tensor, flip: Tensor) -> Tensor:
    """(B, C, H, W), those in `flip`, (B,) bool, mirrored left to right."""
    if images.device.type != "cpu":  # indexing by a mask would make the host wait
        return torch.where(flip[:, None, None, None], images.flip(3), images)
    images = images.clone()
    for row in flip.nonzero()[:, 0].tolist():  # ten times as fast as torch.where at 224 px
        images[row] = images[row].flip(2)
    return images


def train_size(recipe: Recipe, epoch: int) -> int:
    """train_res, or this epoch's size of progressive_res: the i-th of n starts at epoch ceil(i epochs / n)."""
    sizes = recipe.progressive_res or [recipe.train_res]
    return sizes[min(epoch * len(sizes) // recipe.epochs, len(sizes) - 1)]


def output_size(recipe: Recipe, native: tuple[int, int], epoch: int) -> tuple[int, int]:
    """Height and width of augmented images of one native size, which progressive_res scales as it scales train_res."""
    scale = train_size(recipe, epoch) / recipe.train_res if recipe.progressive_res else 1
    height, width = (max(1, round(length * scale)) for length in native)
    return height, width


def padded_shift(images: Tensor, padding: int, mode: str, fill: Tensor, shift: Tensor) -> Tensor:
    """Pad each side by `padding` and cut out a window of the old size: (B, C, H, W) uint8 -> the same.

    Args:
        mode: "reflect"; "zero", which pads with 0; "mean", which pads with `fill`, (C,) uint8.
        shift: (B, 2) int64 in [0, 2 * padding], the window's top and left corner.
    """
    height, width = images.shape[2:]
    if mode == "reflect":
        padded = F.pad(images.half(), (padding,) * 4, mode="reflect").to(torch.uint8)  # which half holds exactly
    elif mode == "mean":
        padded = F.pad(images - fill.view(-1, 1, 1), (padding,) * 4) + fill.view(-1, 1, 1)  # uint8 wraps around at 256
    else:
        padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), a view
    return windows[torch.arange(len(images), device=images.device), :, shift[:, 0], shift[:, 1]]
