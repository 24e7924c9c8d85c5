"""The losses against timm, torch and the papers' formulas."""

import pytest
import torch
from conftest import recipe_of
from torch.nn import functional as F

from lineage.recipes.losses import binary_cross_entropy, distillation_loss, evaluation_loss, radial_basis, training_loss


def test_bce_equals_timms():
    from timm.loss import BinaryCrossEntropy

    recipe, logits = recipe_of("rsb_a2"), torch.randn(8, 10)
    targets = torch.rand(8, 10)
    theirs = BinaryCrossEntropy(smoothing=0, target_threshold=0.2)(logits, targets)
    assert torch.equal(binary_cross_entropy(recipe, logits, targets), theirs)


def test_auxiliary_losses_are_weighted():
    recipe, logits, labels = recipe_of("wrn"), torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    one = F.cross_entropy(logits, labels)
    assert torch.allclose(training_loss(recipe, (logits, [logits, logits]), labels, (0.3, 0.3)), 1.6 * one)


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
    apart = recipe_of("wrn", loss="bce", distill="hard", distill_share=0.5)
    expected = F.binary_cross_entropy(student.sigmoid(), (teacher.sigmoid() > 0.5).float())
    torch.testing.assert_close(distillation_loss(apart, student, teacher), expected)
