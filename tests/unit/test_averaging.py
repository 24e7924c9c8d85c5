"""Averages of weights and statistics of batch normalisation against float64 references and torch's own."""

from __future__ import annotations

import pytest
import torch
from conftest import recipe_of
from torch import nn
from torch.optim.swa_utils import update_bn

from lineage.recipes.optim.averaging import Average, ema_decay, remaining_initial_weight
from lineage.recipes.optim.batch_norm_statistics import AccumulatedBatchNorm, recompute, running_statistics


def follow(steps: int, steps_per_epoch: int = 2, **changes) -> tuple[Average, list[torch.Tensor]]:
    """An average of weights that are drawn anew at every step, and these weights, the first ones in front."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = nn.Linear(3, 2, bias=False)
    average = Average(recipe_of("wrn", **changes), network)
    seen = [network.weight.detach().double().clone()]
    for step in range(steps):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=generator))
        seen.append(network.weight.detach().double().clone())
        average.after_step(network, step, steps_per_epoch)
    return average, seen


@pytest.mark.parametrize(
    "changes",
    [{}, {"ema_ramp": True}, {"ema_every": 3}, {"ema_every": 2, "ema_warmup_copy": True, "warmup_epochs": 2.0}],
    ids=str,
)
def test_the_exponential_average_is_its_formula_in_float64(changes):
    average, seen = follow(20, ema=0.9, **changes)
    every, expected, updates = changes.get("ema_every", 1), seen[0], 0
    for step in range(1, 21):
        if step % every:
            continue
        updates += 1
        decay = min(0.9, (1 + updates) / (10 + updates)) if changes.get("ema_ramp") else 0.9
        if changes.get("ema_warmup_copy") and step <= 4:
            decay = 0.0
        expected = decay * expected + (1 - decay) * seen[step]
    torch.testing.assert_close(average.network.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_equal_average_is_of_the_ends_of_the_last_epochs():
    average, seen = follow(12, epochs=6, swa=4)
    torch.testing.assert_close(average.network.weight.double(), torch.stack(seen[6::2]).mean(0), rtol=1e-5, atol=1e-6)
    assert average.count == 4


def test_what_an_average_holds_of_the_initial_weights():
    recipe = recipe_of("wrn", ema=0.9999)
    assert remaining_initial_weight(recipe, 1000, 50) == pytest.approx(0.9999**1000)
    assert remaining_initial_weight(recipe_of("wrn", ema=0.9999, ema_ramp=True), 1000, 50) < 1e-9
    copied = recipe_of("wrn", ema=0.9999, ema_warmup_copy=True, warmup_epochs=1.0)
    assert remaining_initial_weight(copied, 1000, 50) == 0
    assert remaining_initial_weight(recipe_of("wrn"), 1000, 50) == 0
    ramped = recipe_of("wrn", ema=0.9999, ema_ramp=True)
    assert [ema_decay(ramped, n) for n in (1, 8)] == [2 / 11, 0.5] and ema_decay(ramped, 10**6) == 0.9999


def test_an_average_goes_on_from_its_state():
    whole, _ = follow(20, ema=0.9, ema_ramp=True)
    half, seen = follow(10, ema=0.9, ema_ramp=True)
    later = Average(half.recipe, nn.Linear(3, 2, bias=False))
    later.load_state_dict(half.state_dict())
    generator, network = torch.Generator().manual_seed(0), nn.Linear(3, 2, bias=False)
    for step in range(20):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=generator))
        if step >= 10:
            later.after_step(network, step, 2)
    assert torch.equal(later.network.weight, whole.network.weight)


# ---- statistics


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_micro_batches_of_a_step_move_the_statistics_once(count):
    """By the mean of what `count` devices, each with one of them, would have."""
    batches = torch.randn(count, 4, 3, 8, 8)
    alone = []
    for batch in batches:
        network = normalised()
        network(batch)
        alone.append(torch.cat(running_statistics([network[1], network[4]])))
    network = normalised()
    moves = AccumulatedBatchNorm(network)
    for step in range(2):  # a second step starts from the first
        for index, batch in enumerate(batches):
            with moves.micro_batch(index, count):
                network(batch)
        found = torch.cat(running_statistics([network[1], network[4]]))
        if step == 0:
            torch.testing.assert_close(found, torch.stack(alone).mean(0))
    assert not torch.allclose(found, torch.stack(alone).mean(0))


def test_recomputed_statistics_are_torchs_update_bn():
    batches = [torch.randn(4, 3, 8, 8) for _ in range(5)]
    ours, theirs = normalised().eval(), normalised().eval()
    all_trained = [True for _ in ours.modules()]
    assert recompute(ours, all_trained, iter(batches)) == 5 and not ours.training and ours[1].momentum == 0.1
    update_bn(batches, theirs)
    for mine, other in zip(
        running_statistics([ours[1], ours[4]]), running_statistics([theirs[1], theirs[4]]), strict=True
    ):
        torch.testing.assert_close(mine, other)
