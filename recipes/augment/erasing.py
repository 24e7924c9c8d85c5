"""Random erasing and cutout of normalised images, whose mean is zero."""

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
    """Erase boxes of (B, C, H, W) float32 as the recipe says, in place; mode "pixel" needs normal_quantiles()."""
    height, width = pixels.shape[2:]
    if recipe.erasing_prob:
        chosen = draws["erased"] < recipe.erasing_prob
        boxes = random_erasing(draws["erasing"], height, width, *RANGES[recipe.erasing_mode]) * chosen
        state = None
        if recipe.erasing_mode == "pixel":
            high, low = (draws["noise"] * 2**24).long().unbind(1)
            state = (high << 40) + (low << 16)
        fill_boxes(pixels, boxes, quantiles, state)
    if recipe.cutout:
        fill_boxes(pixels, cutout(draws["cutout"], height, width, recipe.cutout), quantiles, None)
    return pixels


def fill_boxes(pixels: Tensor, boxes: Tensor, quantiles: Tensor, state: Tensor | None) -> None:
    """Set the pixels of each image's box, (B, 4) of top, left, height, width, to zero, or to normal noise: a function
    of the image's state, (B,) int64, of the channel and of the pixel's position."""
    _, channels, height, width = pixels.shape
    channel, row, four = (
        torch.arange(length, device=pixels.device) for length in (channels, height, -(-width // 4))
    )  # one hash makes the numbers of four columns
    counters = ((channel[:, None, None] << 40) + (row[:, None] << 20) + four) * GOLDEN
    if pixels.device.type == "cpu":
        for i, (top, left, height, width) in enumerate(boxes.long().tolist()):
            box = pixels[i, :, top : top + height, left : left + width]
            if state is None:
                box.zero_()
            elif height:
                part = counters[:, top : top + height, left // 4 : -(-(left + width) // 4)]
                box.copy_(normal_noise(quantiles, state[i] + part)[..., left % 4 : left % 4 + width])
        return
    mask = inside(pixels, boxes)  # reading the boxes would make the host wait
    if state is None:
        pixels.masked_fill_(mask, 0.0)
        return
    count = max(1, NOISE_CHUNK // pixels[0].numel())
    for part, chosen, states in zip(*(whole.split(count) for whole in (pixels, mask, state)), strict=True):
        noise = normal_noise(quantiles, states[:, None, None, None] + counters)[..., :width]
        part.copy_(torch.where(chosen, noise, part))


def inside(pixels: Tensor, boxes: Tensor) -> Tensor:
    """A mask, (B, 1, H, W) bool, of the pixels in their image's box."""
    top, left, height, width = boxes[:, :, None].unbind(1)
    rows, columns = (torch.arange(side, device=pixels.device) for side in pixels.shape[2:])
    in_rows, in_columns = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return in_rows[:, None, :, None] & in_columns[:, None, None]
