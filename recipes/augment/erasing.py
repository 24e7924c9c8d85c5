"""Boxes that are erased: random erasing and cutout, of normalised images, whose mean is zero."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lineage.recipes.augment import boxes
from lineage.recipes.augment.randomness import GOLDEN, normal_noise
from lineage.recipes.recipe import Recipe

# Shares of the area and ratios of height to width: timm's of noise, torchvision's of a constant.
RANGES = {"pixel": ((0.02, 1 / 3), (0.3, 1 / 0.3)), "constant": ((0.02, 0.33), (0.3, 3.3))}
AT_ONCE = 2**23  # numbers of noise for whole images on a device, so that they fit beside the network


def erasing_draws(recipe: Recipe) -> dict[str, int]:
    """How many numbers are drawn of each image."""
    counts = {"erased": 1, "erasing": 4 * boxes.TRIES} if recipe.erasing_prob else {}
    noise = {"noise": 2} if recipe.erasing_prob and recipe.erasing_mode == "pixel" else {}
    return {**counts, **noise, **({"cutout": 2} if recipe.cutout else {})}


def erase(recipe: Recipe, draws: dict[str, Tensor], pixels: Tensor, quantiles: Tensor) -> Tensor:
    """Erase what the recipe says, in place.

    Args:
        pixels: (B, C, H, W) float32.
        quantiles: of the normal distribution, for mode "pixel".
    """
    height, width = pixels.shape[2:]
    if recipe.erasing_prob:
        chosen = draws["erased"] < recipe.erasing_prob
        found = boxes.random_erasing(draws["erasing"], height, width, *RANGES[recipe.erasing_mode]) * chosen
        if recipe.erasing_mode == "constant":
            fill_boxes(pixels, found)
        else:
            high, low = (draws["noise"] * 2**24).long().unbind(1)
            fill_boxes_with_noise(pixels, found, quantiles, (high << 40) + (low << 16))
    if recipe.cutout:
        fill_boxes(pixels, boxes.cutout(draws["cutout"], height, width, recipe.cutout))
    return pixels


def fill_boxes(pixels: Tensor, found: Tensor) -> None:
    """Set the pixels of each image's box, (B, 4) of top, left, height, width, to zero."""
    if pixels.device.type != "cpu":  # without a look at the boxes, for which the host would have to wait
        pixels.masked_fill_(inside(pixels, found)[:, None], 0.0)
        return
    for i, rows, columns in _boxes(found):
        pixels[i, :, rows.start : rows.stop, columns.start : columns.stop] = 0.0


def fill_boxes_with_noise(pixels: Tensor, found: Tensor, quantiles: Tensor, state: Tensor) -> None:
    """Set them to normal noise, a function of the image's state (B,) int64, and of the place."""
    _, channels, height, width = pixels.shape
    rows_of_all, fours = counters(channels, height, width, pixels.device)
    if pixels.device.type != "cpu":
        at_once = max(1, AT_ONCE // pixels[0].numel())
        chosen = inside(pixels, found)[:, None]
        for part, where, states in zip(*(whole.split(at_once) for whole in (pixels, chosen, state)), strict=True):
            noise = normal_noise(quantiles, states[:, None, None, None] + rows_of_all + fours)[..., :width]
            part.copy_(torch.where(where, noise, part))
        return
    states = state.tolist()
    for i, rows, columns in _boxes(found):
        own = rows_of_all[:, rows.start : rows.stop] + states[i]
        first = columns.start // 4
        noise = normal_noise(quantiles, own + fours[first : -(-columns.stop // 4)])
        box = pixels[i, :, rows.start : rows.stop, columns.start : columns.stop]
        box.copy_(noise.narrow(2, columns.start - 4 * first, len(columns)))


def counters(channels: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of rows, (C, H, 1) int64, and of columns, a number for every four of them: what the noise of a place is of."""
    channel, row, four = (torch.arange(length, device=device) for length in (channels, height, -(-width // 4)))
    return ((channel[:, None, None] << 40) + (row[:, None] << 20)) * GOLDEN, four * GOLDEN


def _boxes(found: Tensor) -> Iterator[tuple[int, range, range]]:
    """Those that are not empty: image, rows, columns."""
    for i, (top, left, height, width) in enumerate(found.long().tolist()):
        if height and width:
            yield i, range(top, top + height), range(left, left + width)


def inside(pixels: Tensor, found: Tensor) -> Tensor:
    """Which pixels are in their image's box, (B, H, W) bool."""
    top, left, height, width = found[:, :, None].unbind(1)
    rows, columns = (torch.arange(side, device=pixels.device) for side in pixels.shape[2:])
    in_rows, in_columns = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return in_rows[:, :, None] & in_columns[:, None]
