"""The losses, of logits (B, K) and targets: class indices (B,) or soft targets (B, K). All return the batch's mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.recipe import Recipe


def cross_entropy(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy; smoothing of class indices is torch's, that of soft targets is already in them."""
    smoothing = recipe.label_smoothing if targets.ndim == 1 else 0.0
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)


def binary_cross_entropy(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """One logistic regression a class, mean over batch and classes (RSB, section 3.2; timm's BinaryCrossEntropy).

    With a threshold every class whose mixed share exceeds it is present, which erases label smoothing.
    """
    if recipe.bce_threshold:
        targets = (targets > recipe.bce_threshold).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets)


LOSSES = {"ce": cross_entropy, "bce": binary_cross_entropy}


def training_loss(recipe: Recipe, output: Tensor | tuple[Tensor, list[Tensor]], targets: Tensor, aux_weights) -> Tensor:
    """The loss of a network's output in training; auxiliary logits add theirs, times the network's own weights."""
    loss = LOSSES[recipe.loss]
    if isinstance(output, Tensor):
        return loss(recipe, output.float(), targets)
    logits, auxiliaries = output
    total = loss(recipe, logits.float(), targets)
    for weight, auxiliary in zip(aux_weights, auxiliaries, strict=True):
        total = total + weight * loss(recipe, auxiliary.float(), targets)
    return total


def evaluation_loss(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    """The recipe's loss against the plain labels, without smoothing or mixing, per image: (B,)."""
    if recipe.loss == "ce":
        return F.cross_entropy(logits, labels, reduction="none")
    targets = torch.zeros_like(logits).scatter_(1, labels[:, None], 1.0)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
