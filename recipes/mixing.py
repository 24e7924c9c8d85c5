"""Mixup (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899), a batch at a time.

As in timm: the partner of an image is its mirror place in the batch, and when both are on one is drawn at each step,
with equal chance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy
from torch import Tensor
from torch.nn import functional as F

from recipes.randomness import generator
from recipes.recipe import Recipe


class Mix(NamedTuple):
    """What one step does: the share of the image itself, and CutMix's box (top, bottom, left, right), if any."""

    share: float
    box: tuple[int, int, int, int] | None


def draw_mix(recipe: Recipe, height: int, width: int, *key: object) -> Mix | None:
    """The mix of a step as a function of the key; None if the recipe mixes nothing.

    A box that leaves the image is clipped, and the share corrected to its area.
    """
    if not recipe.mixup_alpha and not recipe.cutmix_alpha:
        return None
    draw = generator("mix", *key)
    cut = bool(recipe.cutmix_alpha) and (not recipe.mixup_alpha or draw.random() < 0.5)
    alpha = recipe.cutmix_alpha if cut else recipe.mixup_alpha
    share = draw.betavariate(alpha, alpha)
    if not cut:
        return Mix(share, None)
    cut_height, cut_width = int(height * (1 - share) ** 0.5), int(width * (1 - share) ** 0.5)
    y, x = draw.randrange(height), draw.randrange(width)
    top, bottom = (int(v) for v in numpy.clip((y - cut_height // 2, y + cut_height // 2), 0, height))
    left, right = (int(v) for v in numpy.clip((x - cut_width // 2, x + cut_width // 2), 0, width))
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))


def mix_images(images: Tensor, mix: Mix) -> Tensor:
    """Mix each image of (B, C, H, W) with its partner, in place."""
    partners = images.flip(0)
    if mix.box is None:
        return images.mul_(mix.share).add_(partners, alpha=1 - mix.share)
    top, bottom, left, right = mix.box
    images[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return images


def soft_targets(labels: Tensor, num_classes: int, smoothing: float, mix: Mix | None) -> Tensor:
    """Targets (B, num_classes) float32, mixed: smoothing / K off, 1 - smoothing + smoothing / K on."""
    targets = F.one_hot(labels, num_classes).float()
    if mix is not None:
        targets = targets * mix.share + targets.flip(0) * (1 - mix.share)
    return targets * (1 - smoothing) + smoothing / num_classes if smoothing else targets
