"""The losses, of logits (B, K) and targets: class indices (B,) or soft targets (B, K). All return the batch's mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lineage.recipes.recipe import Recipe


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


def radial_basis(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """LeNet-5's loss (LeCun et al. 1998, section II-C) of logits -y_i, minus the distances to the classes' codes.

    Equation 8 is the mean of y of the right class; with j = `rbf_competition` equation 9 adds
    log(exp(-j) + sum_i exp(-y_i)), so that wrong classes are pushed away up to about j.
    """
    loss = -logits.gather(1, targets[:, None])[:, 0]
    if recipe.rbf_competition:
        bound = logits.new_full((len(logits), 1), -recipe.rbf_competition)
        loss = loss + torch.logsumexp(torch.cat((bound, logits), dim=1), dim=1)
    return loss.mean()


LOSSES = {"ce": cross_entropy, "bce": binary_cross_entropy, "rbf": radial_basis}


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


def distillation_loss(recipe: Recipe, logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """The loss of a student's logits against its teacher's, (B, K) both.

    soft: T^2 KL(teacher || student) of the softmaxes at temperature T (Hinton et al. 2015, arXiv 1503.02531).
    hard: cross-entropy with the teacher's top class (Touvron et al. 2020, arXiv 2012.12877, equation 3).
    With loss bce, where classes are independent, the targets are the teacher's sigmoids (soft), or which of them exceed
    1/2 (hard).
    """
    soft = recipe.distill == "soft"
    temperature = recipe.distill_temperature if soft else 1.0
    if recipe.loss == "bce":
        targets = torch.sigmoid(teacher_logits / temperature) if soft else (teacher_logits > 0).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits / temperature, targets) * temperature**2
    if not soft:
        return F.cross_entropy(logits, teacher_logits.argmax(dim=1))
    student, teacher = (F.log_softmax(each / temperature, dim=1) for each in (logits, teacher_logits))
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def evaluation_loss(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    """The recipe's loss against the plain labels, without smoothing or mixing, per image: (B,)."""
    if recipe.loss == "ce":
        return F.cross_entropy(logits, labels, reduction="none")
    if recipe.loss == "rbf":
        return -logits.gather(1, labels[:, None])[:, 0]
    targets = torch.zeros_like(logits).scatter_(1, labels[:, None], 1.0)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
