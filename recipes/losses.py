"""The losses of logits (B, K) against class indices (B,) or soft targets (B, K), averaged over the batch."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lineage.recipes.mixing import soft_targets
from lineage.recipes.recipe import Recipe, RecipeError


def cross_entropy(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy. Soft targets are smoothed already; for class indices the sum is torch's, bit for bit, without the
    kernels that look for an index to ignore."""
    if targets.ndim == 2 or not recipe.label_smoothing:
        return F.cross_entropy(logits, targets)
    smoothing, log_probabilities = recipe.label_smoothing, F.log_softmax(logits, dim=1)
    others = log_probabilities.sum(dim=1).mean() * (smoothing / logits.shape[1])
    return F.nll_loss(log_probabilities, targets) * (1 - smoothing) - others


def binary_cross_entropy(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over batch and classes (RSB, section 3.2; timm's BinaryCrossEntropy).

    With a threshold, targets above it become 1 and all others 0, so that label smoothing has no effect.
    """
    if recipe.bce_threshold:
        targets = (targets > recipe.bce_threshold).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets)


def radial_basis(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """LeNet-5's loss (LeCun et al. 1998, section II-C). Logit i is -y_i, minus the distance to the code of class i.

    Equation 8 is the mean of y of the right class. With j = `rbf_competition` equation 9 adds
    log(exp(-j) + sum_i exp(-y_i)), which pushes wrong classes away, to a distance of about j.
    """
    loss = F.nll_loss(logits, targets, reduction="none")
    if recipe.rbf_competition:
        bound = logits.new_full((len(logits), 1), -recipe.rbf_competition)
        loss = loss + torch.logsumexp(torch.cat((bound, logits), dim=1), dim=1)
    return loss.mean()


def weighted(recipe: Recipe, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Cross-entropy or binary cross-entropy, each image times the weight of its class (if mixed, the mean weight).

    With `focal_gamma` the term of a class is multiplied by (1 - p)^gamma, p being the probability of its target (Lin et
    al. 2017, arXiv 1708.02002, equation 4). The sum is divided by the images, not as in torch by their weights, so that
    a step does not depend on its micro-batches.
    """
    soft = targets if targets.ndim == 2 else soft_targets(recipe, targets, logits.shape[1], None)
    if recipe.loss == "ce":
        p = logits.softmax(dim=1)
        terms = -soft * F.log_softmax(logits, dim=1)
    else:
        soft = (soft > recipe.bce_threshold).to(logits.dtype) if recipe.bce_threshold else soft
        p = soft * logits.sigmoid() + (1 - soft) * (1 - logits.sigmoid())
        terms = F.binary_cross_entropy_with_logits(logits, soft, reduction="none") / logits.shape[1]
    loss = (terms * (1 - p).clamp_min(1e-7) ** recipe.focal_gamma).sum(dim=1)  # a root has no gradient at 0
    if class_weights is not None:
        loss = loss * (class_weights[targets] if targets.ndim == 1 else soft @ class_weights / soft.sum(dim=1))
    return loss.mean()


def class_weights(recipe: Recipe, labels: Tensor, num_classes: int) -> Tensor | None:
    """The weight of each class, (K,), for training labels (N,); None: all are 1. Raises RecipeError: not K are given.

    balanced: N / (K x images of the class), as scikit-learn's compute_class_weight; an image's mean weight is 1.
    """
    given = recipe.class_weights
    if given == "balanced":
        return len(labels) / num_classes / labels.bincount(minlength=num_classes).clamp(min=1)
    if given != "none" and len(given) != num_classes:
        raise RecipeError(f"recipe.class_weights: it has {len(given)} weights for {num_classes} classes.")
    return None if given == "none" else torch.tensor(given, dtype=torch.float32)


LOSSES = {"ce": cross_entropy, "bce": binary_cross_entropy, "rbf": radial_basis}


def training_loss(recipe: Recipe, output, targets: Tensor, aux_weights, class_weights: Tensor | None = None) -> Tensor:
    """The loss of a network's training output, logits or a pair of logits and a list of auxiliary ones, whose losses
    are added, times `aux_weights`."""
    loss = LOSSES[recipe.loss]
    if class_weights is not None or recipe.focal_gamma:
        loss = partial(weighted, class_weights=class_weights)
    logits, auxiliaries = (output, []) if isinstance(output, Tensor) else output
    total = loss(recipe, logits.float(), targets)
    for weight, auxiliary in zip(aux_weights if auxiliaries else (), auxiliaries, strict=True):
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
    """The recipe's loss of each image, (B,), against its label, without smoothing, mixing, weights or focus."""
    if recipe.loss == "ce":
        return F.cross_entropy(logits, labels, reduction="none")
    if recipe.loss == "rbf":
        return F.nll_loss(logits, labels, reduction="none")
    targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
