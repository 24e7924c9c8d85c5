"""Random erasing and cutout of normalised images, whose mean is zero."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lineage.recipes.augment.boxes import TRIES, cutout, random_erasing
from lineage.recipes.augment.randomness import GOLDEN, normal_noise
from lineage.recipes.recipe import Recipe

# Ranges of the share of the area and of height / width: timm's for noise, torchvision's for a constant.
RANGES = {"pixel": ((0.02, 1 / 3), (0.3, 1 / 0.3)), "constant": ((0.02, 0.33), (0.3, 3.3))}
NOISE_CHUNK = 2**23  # random numbers made at once on a device, so that they fit beside the network


def erasing_draws(recipe: Recipe) -> dict[str, int]:
    """How many random numbers an image needs, by name."""
    erases = bool(recipe.erasing_prob)
    noise = erases and recipe.erasing_mode == "pixel"
    return {"erased": 1 * erases, "erasing": 4 * TRIES * erases, "noise": 2 * noise, "cutout": 2 * bool(recipe.cutout)}


def erase(recipe: Recipe, draws: dict[str, Tensor], pixels: Tensor, quantiles: Tensor) -> Tensor:
    """Erase boxes as the recipe says, in place.

    Args:
        pixels: (B, C, H, W) float32.
        quantiles: normal_quantiles(), for mode "pixel".
    """
    height, width = pixels.shape[2:]
    if recipe.erasing_prob:
        chosen = draws["erased"] < recipe.erasing_prob
        boxes = random_erasing(draws["erasing"], height, width, *RANGES[recipe.erasing_mode]) * chosen
        if recipe.erasing_mode == "constant":
            fill_boxes(pixels, boxes)
        else:
            high, low = (draws["noise"] * 2**24).long().unbind(1)
            fill_boxes_with_noise(pixels, boxes, quantiles, (high << 40) + (low << 16))
    if recipe.cutout:
        fill_boxes(pixels, cutout(draws["cutout"], height, width, recipe.cutout))
    return pixels


def fill_boxes(pixels: Tensor, boxes: Tensor) -> None:
    """Set the pixels of each image's box, (B, 4) of top, left, height, width, to zero."""
    if pixels.device.type != "cpu":  # reading the boxes would make the host wait
        pixels.masked_fill_(inside(pixels, boxes)[:, None], 0.0)
        return
    for i, rows, columns in _non_empty(boxes):
        pixels[i, :, rows, columns] = 0.0


def fill_boxes_with_noise(pixels: Tensor, boxes: Tensor, quantiles: Tensor, state: Tensor) -> None:
    """Set them to normal noise, a function of the image's state (B,) int64 and of the pixel's position."""
    _, channels, height, width = pixels.shape
    row_counters, column_counters = counters(channels, height, width, pixels.device)
    if pixels.device.type != "cpu":
        chunk = max(1, NOISE_CHUNK // pixels[0].numel())
        chosen = inside(pixels, boxes)[:, None]
        for part, mask, states in zip(*(whole.split(chunk) for whole in (pixels, chosen, state)), strict=True):
            noise = normal_noise(quantiles, states[:, None, None, None] + row_counters + column_counters)[..., :width]
            part.copy_(torch.where(mask, noise, part))
        return
    states = state.tolist()
    for i, rows, columns in _non_empty(boxes):
        image_counters = row_counters[:, rows] + states[i]
        first = columns.start // 4
        noise = normal_noise(quantiles, image_counters + column_counters[first : -(-columns.stop // 4)])
        pixels[i, :, rows, columns] = noise[..., columns.start - 4 * first : columns.stop - 4 * first]


def counters(channels: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Counters of rows, (C, H, 1) int64, and of groups of four columns: noise is a function of their sum."""
    channel, row, four = (torch.arange(length, device=device) for length in (channels, height, -(-width // 4)))
    return ((channel[:, None, None] << 40) + (row[:, None] << 20)) * GOLDEN, four * GOLDEN


def _non_empty(boxes: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """Image, rows and columns of each box that is not empty."""
    for i, (top, left, height, width) in enumerate(boxes.long().tolist()):
        if height and width:
            yield i, slice(top, top + height), slice(left, left + width)


def inside(pixels: Tensor, boxes: Tensor) -> Tensor:
    """A mask of the pixels in their image's box, (B, H, W) bool."""
    top, left, height, width = boxes[:, :, None].unbind(1)
    rows, columns = (torch.arange(side, device=pixels.device) for side in pixels.shape[2:])
    in_rows, in_columns = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return in_rows[:, :, None] & in_columns[:, None]
