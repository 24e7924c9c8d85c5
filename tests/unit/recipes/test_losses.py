"""The losses against timm, torch and the papers' formulas."""

import math

import pytest
import torch
from conftest import recipe_of
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from lineage.recipes.losses import (
    binary_cross_entropy,
    class_weights,
    distillation_loss,
    evaluation_loss,
    radial_basis,
    training_loss,
)
from lineage.recipes.micro_batch import micro_batch_loss
from lineage.recipes.recipe import RecipeError


def test_bce_equals_timms():
    from timm.loss import BinaryCrossEntropy

    recipe, logits = recipe_of("rsb_a2"), torch.randn(8, 10)
    targets = torch.rand(8, 10)
    theirs = BinaryCrossEntropy(smoothing=0, target_threshold=0.2)(logits, targets)
    assert torch.equal(binary_cross_entropy(recipe, logits, targets), theirs)


def test_label_smoothing_is_torchs():
    logits, labels, recipe = torch.randn(8, 10), torch.arange(8), recipe_of("wrn", label_smoothing=0.2)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.2)
    assert torch.equal(training_loss(recipe, logits, labels, ()), expected)


def test_auxiliary_losses_are_weighted():
    recipe, logits, labels = recipe_of("wrn"), torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    one = F.cross_entropy(logits, labels)
    found = training_loss(recipe, (logits, [2 * logits, 3 * logits]), labels, (0.3, 0.2))
    others = 0.3 * F.cross_entropy(2 * logits, labels) + 0.2 * F.cross_entropy(3 * logits, labels)
    assert torch.allclose(found, one + others)


def test_class_weights_and_the_focal_loss_by_hand():
    labels, logits = torch.tensor([0, 0, 0, 1]), torch.log(torch.tensor([[3.0, 1.0]] * 4))
    balanced = recipe_of("wrn", class_weights="balanced", label_smoothing=0.0)
    weights = class_weights(balanced, labels, 2)
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])  # scikit-learn's "balanced"
    per_image = (2 / 3 * -math.log(3 / 4) * 3 + 2 * -math.log(1 / 4)) / 4
    assert float(training_loss(balanced, logits, labels, (), weights)) == pytest.approx(per_image)
    focal = recipe_of("wrn", focal_gamma=2.0, label_smoothing=0.0)
    per_image = (3 * (1 / 4) ** 2 * -math.log(3 / 4) + (3 / 4) ** 2 * -math.log(1 / 4)) / 4
    assert float(training_loss(focal, logits, labels, ())) == pytest.approx(per_image)
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    training_loss(recipe_of("wrn", focal_gamma=0.5), sure, labels[:1], ()).backward()
    assert sure.grad.isfinite().all()
    mixed = torch.tensor([[0.7, 0.3]])  # whose weight is the mean of its classes'
    found = training_loss(recipe_of("wrn"), logits[:1], mixed, (), torch.tensor([2.0, 4.0]))
    assert float(found) == pytest.approx(2.6 * (0.7 * -math.log(3 / 4) + 0.3 * -math.log(1 / 4)))
    with pytest.raises(RecipeError, match="3 weights for 2 classes"):
        class_weights(recipe_of("wrn", class_weights=[1.0, 2.0, 3.0]), labels, 2)


@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_the_focal_loss_equals_torchvisions_and_weights_of_1_change_nothing(loss):
    logits, targets = torch.randn(6, 5), torch.rand(6, 5).softmax(1)
    recipe = recipe_of("wrn", loss=loss, class_weights=[1.0] * 5)
    plain = training_loss(recipe, logits, targets, ())
    torch.testing.assert_close(training_loss(recipe, logits, targets, (), class_weights(recipe, targets, 5)), plain)
    if loss == "bce":
        for threshold, hard in ((0.0, targets), (0.2, (targets > 0.2).float())):
            focal = sigmoid_focal_loss(logits, hard, alpha=-1, gamma=1.5, reduction="mean")
            recipe = recipe_of("wrn", loss=loss, focal_gamma=1.5, bce_threshold=threshold)
            torch.testing.assert_close(training_loss(recipe, logits, targets, ()), focal)


@pytest.mark.parametrize("loss", ["ce", "bce", "rbf"])
def test_the_evaluation_loss_equals_the_training_loss_of_plain_labels(loss):
    recipe, logits, labels = recipe_of("wrn", loss=loss), -torch.rand(4, 5), torch.tensor([0, 1, 2, 3])
    targets = F.one_hot(labels, 5).float() if loss == "bce" else labels
    torch.testing.assert_close(
        evaluation_loss(recipe, logits, labels).mean(), training_loss(recipe, logits, targets, ())
    )


def test_radial_basis_equals_equations_8_and_9():
    distances, labels = torch.rand(6, 10, dtype=torch.float64) * 40, torch.arange(6)
    right = distances[torch.arange(6), labels]
    assert torch.allclose(radial_basis(recipe_of("wrn", loss="rbf"), -distances, labels), right.mean())
    j = 5.0
    wrong = torch.log(torch.exp(torch.tensor(-j)) + torch.exp(-distances).sum(1))
    found = radial_basis(recipe_of("wrn", loss="rbf", rbf_competition=j), -distances, labels)
    assert torch.allclose(found, (right + wrong).mean())


def test_distillation_equals_the_papers():
    student, teacher = torch.randn(4, 5), torch.randn(4, 5)
    soft = recipe_of("wrn", distill="soft", distill_share=0.5, distill_temperature=3.0)
    p, q = (teacher / 3).softmax(1), (student / 3).softmax(1)
    expected = 9 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(distillation_loss(soft, student, teacher), expected)
    hard = recipe_of("wrn", distill="hard", distill_share=0.5)
    torch.testing.assert_close(distillation_loss(hard, student, teacher), F.cross_entropy(student, teacher.argmax(1)))
    labels, mixed = torch.tensor([0, 1, 2, 3]), recipe_of("wrn", distill="hard", distill_share=0.3)
    loss, right = micro_batch_loss(lambda _: student, mixed, lambda _: teacher, torch.zeros(4), labels, labels)
    expected = 0.7 * F.cross_entropy(student, labels) + 0.3 * F.cross_entropy(student, teacher.argmax(1))
    assert float(loss) == pytest.approx(float(expected)) and right == (student.argmax(1) == labels).sum()
    apart = recipe_of("wrn", loss="bce", distill="hard", distill_share=0.5)
    expected = F.binary_cross_entropy(student.sigmoid(), (teacher.sigmoid() > 0.5).float())
    torch.testing.assert_close(distillation_loss(apart, student, teacher), expected)
