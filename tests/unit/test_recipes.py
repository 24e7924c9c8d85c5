"""The procedures' pure functions against timm, torch and PIL, and the randomness that they are functions of."""

from __future__ import annotations

import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F

from recipes.optimizers import build_optimizer, parameter_groups
from recipes.recipe import OPTIMIZERS
from recipes.schedules import learning_rate


def recipe_of(name: str, **changes):
    recipe = OmegaConf.to_object(composed(f"recipe={name}").recipe)
    for key, value in changes.items():
        setattr(recipe, key, value)
    return recipe


# ---- schedule


def test_cosine_with_warmup_is_timms():
    from timm.scheduler import CosineLRScheduler

    recipe = recipe_of("rsb_a2")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    theirs = CosineLRScheduler(optimizer, 300, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4)
    for epoch in range(300):
        theirs.step(epoch)
        first, last = (learning_rate(recipe, epoch * 625 + i, 625) for i in (0, 624))
        assert first == last == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "epochs_and_rates"),
    [
        ("resnet", {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 89: 0.001}),
        ("wrn", {0: 0.1, 59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
        ("resnet_cifar", {81: 0.1, 82: 0.01, 123: 0.001}),
    ],
)
def test_steps_are_the_papers(name, epochs_and_rates):
    recipe = recipe_of(name)
    for epoch, rate in epochs_and_rates.items():
        assert learning_rate(recipe, epoch * 10, 10) == pytest.approx(rate)


def test_linear_and_exponential_by_the_step():
    linear = recipe_of("sgd_step", schedule="linear", schedule_interval="step", epochs=10, lr=1.0, min_lr=0.1)
    assert learning_rate(linear, 50, 10) == pytest.approx(0.55)
    decay = recipe_of(
        "sgd_step", schedule="exponential", schedule_interval="step", decay_rate=0.02, decay_epochs=[400.0]
    )
    assert learning_rate(decay, 2000, 10) == pytest.approx(0.02 * 0.02**0.5)


# ---- optimiser and averages


def test_groups_and_optimizers():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, free = parameter_groups(network, 0.1, False, False)
    assert {p.ndim for p in decayed["params"]} == {4, 2} and {p.ndim for p in free["params"]} == {1}
    assert free["weight_decay"] == 0 and len(parameter_groups(network, 0.1, True, True)) == 1
    lamb = build_optimizer(recipe_of("rsb_a2"), network)
    assert type(lamb).__name__ == "Lamb"
    found = lamb.param_groups[0]
    assert (found["betas"], found["eps"], found["max_grad_norm"]) == ((0.9, 0.999), 1e-6, 1.0)
    assert not found["always_adapt"] and not found["trust_clip"] and found["weight_decay"] == 0.02
    sgd = build_optimizer(recipe_of("wrn"), network)
    assert sgd.param_groups[0]["nesterov"] and sgd.param_groups[0]["weight_decay"] == 5e-4


SETTINGS = {
    "sgd": {"beta2": 0.0, "eps": 0.0, "lamb_clip": 0.0},
    "lars": {"beta2": 0.0, "eps": 0.0, "lamb_clip": 0.0},
    "lion": {"beta2": 0.99, "eps": 0.0, "lamb_clip": 0.0},
    "lamb": {},
    **dict.fromkeys(("adamw", "adam", "nadamw", "rmsproptf"), {"lamb_clip": 0.0}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_two_steps_that_lower_the_loss(name):
    recipe = recipe_of("rsb_a2", optimizer=name, lr=1e-3, **SETTINGS[name])
    recipe.check()
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.randn(32, 3, 2, 2)
    labels = (images.sum((1, 2, 3)) > 0).long()
    optimizer, losses = build_optimizer(recipe, network), []
    for _ in range(3):
        loss = F.cross_entropy(network(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]
