"""Mixup (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899) of a batch.

As in timm, one lambda and one box serve all images, and where both are on, each batch gets one of the two, with equal
probability.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lineage.recipes.augment.randomness import generator, permutation
from lineage.recipes.recipe import Recipe


class Mix(NamedTuple):
    """How a batch is mixed."""

    lam: float  # lambda, the share of the image itself; its partner has the rest
    box: tuple[int, int, int, int] | None  # CutMix's top, bottom, left, right; None for mixup
    partner: str = "reversed"  # see `partners`
    key: tuple[object, ...] = ()  # what a random partner is a function of


def draw_mix(recipe: Recipe, height: int, width: int, *key: object) -> Mix | None:
    """How to mix, as a function of the key; None if the recipe does not mix."""
    if not recipe.mixes:
        return None
    draw = generator("mix", *key)
    cutmix = bool(recipe.cutmix_alpha) and (not recipe.mixup_alpha or draw.random() < 0.5)
    alpha = recipe.cutmix_alpha if cutmix else recipe.mixup_alpha
    lam, box = draw.betavariate(alpha, alpha), None
    if cutmix:
        box = cutmix_box(lam, height, width, draw.randrange(height), draw.randrange(width))
        top, bottom, left, right = box
        lam = 1 - (bottom - top) * (right - left) / (height * width)  # after the box was clipped
    return Mix(lam, box, recipe.mix_partner, key)


def cutmix_box(lam: float, height: int, width: int, y: int, x: int) -> tuple[int, int, int, int]:
    """The box of 1 - lam of the area around pixel (y, x), clipped at the image's border: top, bottom, left, right.

    As in timm since 1.0.29, which keeps an odd side; earlier versions, and torchvision, make it even.
    """
    root = math.sqrt(1 - lam)
    (top, bottom), (left, right) = (
        (max(0, centre - side // 2), min(length, centre + (side + 1) // 2))
        for centre, length, side in ((y, height, int(height * root)), (x, width, int(width * root)))
    )
    return top, bottom, left, right


def partners(mix: Mix, batch: Tensor) -> Tensor:
    """A copy of the batch (B, ...), each image replaced by its partner."""
    if mix.partner == "reversed":  # the image at the mirrored position, as in timm
        return batch.flip(0)
    if mix.partner == "rolled":  # the previous image, as in torchvision
        return batch.roll(1, 0)
    return batch[permutation(len(batch), batch.device, "partners", *mix.key)]  # as in the papers


def mix_images(images: Tensor, mix: Mix) -> Tensor:
    """Mix each image of (B, C, H, W) with its partner, in place."""
    if mix.box is None:
        others = partners(mix, images).mul_(1 - mix.lam)
        return images.mul_(mix.lam).add_(others)
    top, bottom, left, right = mix.box
    window = images[:, :, top:bottom, left:right]
    window.copy_(partners(mix, window))
    return images


def soft_targets(recipe: Recipe, labels: Tensor, num_classes: int, mix: Mix | None) -> Tensor:
    """Targets (B, K) float32 of labels (B,) int64.

    With smoothing eps over K classes, the target of the label is 1 - eps + eps / K and of any other class eps / K. Both
    images' targets are mixed by lambda; with `multi_hot` each of their labels keeps its full target.
    """
    off = recipe.label_smoothing / num_classes
    targets = torch.full((len(labels), num_classes), off, device=labels.device)
    targets.scatter_(1, labels[:, None], 1 - recipe.label_smoothing + off)
    if mix is None or mix.lam == 1:
        return targets
    others = partners(mix, targets)
    if recipe.multi_hot and mix.lam > 0:
        return torch.maximum(targets, others)
    return targets.mul_(mix.lam).add_(others.mul_(1 - mix.lam))
