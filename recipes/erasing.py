"""Boxes that are erased: random erasing and cutout, of normalised images, whose mean is zero."""

from __future__ import annotations

import torch
from torch import Tensor

from recipes import boxes
from recipes.randomness import normal_noise
from recipes.recipe import Recipe

# Shares of the area and ratios of height to width: timm's of noise, torchvision's of a constant.
RANGES = {"pixel": ((0.02, 1 / 3), (0.3, 1 / 0.3)), "constant": ((0.02, 0.33), (0.3, 3.3))}
AT_ONCE = 2**23  # numbers of noise for whole images on a device, so that they fit beside the network


def erasing_draws(recipe: Recipe) -> dict[str, int]:
    """How many numbers are drawn of each image."""
    counts = {"erased": 1, "erasing": 4 * boxes.TRIES} if recipe.erasing_prob else {}
    noise = {"noise": 2} if recipe.erasing_prob and recipe.erasing_mode == "pixel" else {}
    return {**counts, **noise, **({"cutout": 2} if recipe.cutout else {})}


def erase(recipe: Recipe, draws: dict[str, Tensor], pixels: Tensor, quantiles: Tensor | None) -> Tensor:
    """Erase what the recipe says, in place.

    Args:
        pixels: (B, C, H, W) float32.
        quantiles: of the normal distribution, for mode "pixel".
    """
    height, width = pixels.shape[2:]
    if recipe.erasing_prob:
        chosen = draws["erased"] < recipe.erasing_prob
        found = boxes.random_erasing(draws["erasing"], height, width, *RANGES[recipe.erasing_mode]) * chosen
        if quantiles is None or recipe.erasing_mode == "constant":
            fill_boxes(pixels, found)
        else:
            high, low = (draws["noise"] * 2**24).long().unbind(1)
            fill_boxes_with_noise(pixels, found, quantiles, (high << 40) + (low << 16))
    if recipe.cutout:
        fill_boxes(pixels, boxes.square(draws["cutout"], height, width, recipe.cutout))
    return pixels


def fill_boxes(pixels: Tensor, found: Tensor) -> None:
    """Set the pixels of each image's box, (B, 4) of top, left, height, width, to zero."""
    if pixels.device.type != "cpu":  # without a look at the boxes, for which the host would have to wait
        pixels.masked_fill_(inside(pixels, found)[:, None], 0.0)
        return
    for image, (rows, columns) in zip(pixels, _slices(found), strict=True):
        image[:, rows, columns] = 0.0


def fill_boxes_with_noise(pixels: Tensor, found: Tensor, quantiles: Tensor, state: Tensor) -> None:
    """Set them to normal noise, a function of the image's state (B,) int64, and of the place."""
    _, channels, *size = pixels.shape
    down, across = (torch.arange(side, device=pixels.device) for side in size)
    if pixels.device.type != "cpu":
        at_once = max(1, AT_ONCE // pixels[0].numel())
        chosen = inside(pixels, found)[:, None]
        for part, where, states in zip(*(whole.split(at_once) for whole in (pixels, chosen, state)), strict=True):
            part.copy_(torch.where(where, normal_noise(quantiles, states, channels, down, across), part))
        return
    for image, own, (rows, columns) in zip(pixels, state.split(1), _slices(found), strict=True):
        if rows.stop > rows.start:
            image[:, rows, columns] = normal_noise(quantiles, own, channels, down[rows], across[columns])[0]


def _slices(found: Tensor) -> list[tuple[slice, slice]]:
    corners = ([int(number) for number in box] for box in found.tolist())
    return [(slice(top, top + height), slice(left, left + width)) for top, left, height, width in corners]


def inside(pixels: Tensor, found: Tensor) -> Tensor:
    """Which pixels are in their image's box, (B, H, W) bool."""
    top, left, height, width = found[:, :, None].unbind(1)
    rows, columns = (torch.arange(side, device=pixels.device) for side in pixels.shape[2:])
    in_rows, in_columns = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return in_rows[:, :, None] & in_columns[:, None]
