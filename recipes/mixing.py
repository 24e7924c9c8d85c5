"""Mixup (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899), a batch at a time.

As in timm: one share and one box for all images, and when both are on one is drawn, with equal chance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lineage.recipes.augment.randomness import generator, permutation
from lineage.recipes.recipe import Recipe


class Mix(NamedTuple):
    """What is done to a batch.

    share: of the image itself; the rest is its partner's. box: CutMix's top, bottom, left, right, if any. partner: who
    the partner is, and key: what a random one is a function of.
    """

    share: float
    box: tuple[int, int, int, int] | None
    partner: str = "reversed"
    key: tuple[object, ...] = ()


def draw_mix(recipe: Recipe, height: int, width: int, *key: object) -> Mix | None:
    """The mix as a function of the key; None if the recipe mixes nothing."""
    if not recipe.mixes:
        return None
    draw = generator("mix", *key)
    cut = bool(recipe.cutmix_alpha) and (not recipe.mixup_alpha or draw.random() < 0.5)
    alpha = recipe.cutmix_alpha if cut else recipe.mixup_alpha
    share, box = draw.betavariate(alpha, alpha), None
    if cut:
        box = cutmix_box(share, height, width, draw.randrange(height), draw.randrange(width))
        top, bottom, left, right = box
        share = 1 - (bottom - top) * (right - left) / (height * width)  # of the box that is left inside the image
    return Mix(share, box, recipe.mix_partner, key)


def cutmix_box(share: float, height: int, width: int, y: int, x: int) -> tuple[int, int, int, int]:
    """The box of 1 - share of the area around pixel (y, x), clipped at the image's border: top, bottom, left, right.

    As in timm since 1.0.29, where an odd side is kept; earlier versions, and torchvision, make it even.
    """
    root = math.sqrt(1 - share)
    (top, bottom), (left, right) = (
        (max(0, centre - cut // 2), min(length, centre + (cut + 1) // 2))
        for centre, length, cut in ((y, height, int(height * root)), (x, width, int(width * root)))
    )
    return top, bottom, left, right


def partners(mix: Mix, batch: Tensor) -> Tensor:
    """The batch (B, ...) in the order of the images' partners, a copy.

    reversed: the mirror place, as in timm; rolled: the image before, as in torchvision; random: as in the papers.
    """
    if mix.partner == "reversed":
        return batch.flip(0)
    if mix.partner == "rolled":
        return batch.roll(1, 0)
    return batch[permutation(len(batch), batch.device, "partners", *mix.key)]


def mix_images(images: Tensor, mix: Mix) -> Tensor:
    """Mix each image of (B, C, H, W) with its partner, in place."""
    if mix.box is None:
        others = partners(mix, images).mul_(1 - mix.share)
        return images.mul_(mix.share).add_(others)
    top, bottom, left, right = mix.box
    window = images[:, :, top:bottom, left:right]
    window.copy_(partners(mix, window))
    return images


def soft_targets(recipe: Recipe, labels: Tensor, num_classes: int, mix: Mix | None) -> Tensor:
    """Targets (B, num_classes) float32 of labels (B,) int64.

    With smoothing eps over K classes, eps / K of a class that is absent and 1 - eps + eps / K of one that is present,
    mixed by their shares; with `multi_hot` every class that has a share is present, once if both are the same.
    """
    off = recipe.label_smoothing / num_classes
    targets = torch.full((len(labels), num_classes), off, device=labels.device)
    targets.scatter_(1, labels[:, None], 1 - recipe.label_smoothing + off)
    if mix is None or mix.share == 1:
        return targets
    others = partners(mix, targets)
    if recipe.multi_hot and mix.share > 0:
        return torch.maximum(targets, others)
    return targets.mul_(mix.share).add_(others.mul_(1 - mix.share))
