"""Averages of weights, and statistics of batch normalisation, against float64 references and torch's own."""

import pytest
import torch
from conftest import recipe_of
from torch import nn
from torch.optim.swa_utils import update_bn

from lineage.recipes.optim.averaging import Average, ema_decay, remaining_initial_weight
from lineage.recipes.optim.batch_norm_statistics import AccumulatedBatchNorm, recompute, running_statistics


def follow(steps: int, steps_per_epoch: int = 2, **changes) -> tuple[Average, list[torch.Tensor]]:
    """An average of weights that are random at every step, and these weights, with the initial ones first. It is
    resumed from its state before every step."""
    torch.manual_seed(0)
    network, recipe = layers(), recipe_of("wrn", **changes)
    average, weights = Average(recipe, network), [flat(network)]
    for step in range(steps):
        for tensor in floats(network):
            nn.init.normal_(tensor)
        network[1].num_batches_tracked += 1
        weights.append(flat(network))
        state, average = average.state_dict(), Average(recipe, layers())
        average.load_state_dict(state)
        average.after_step(network, step, steps_per_epoch)
    return average, weights


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def floats(network: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def flat(network: nn.Module) -> torch.Tensor:
    """Weights, biases and statistics, in float64."""
    return torch.cat([tensor.double().flatten() for tensor in floats(network)])


@pytest.mark.parametrize(
    "changes",
    [{}, {"ema_ramp": True}, {"ema_every": 3}, {"ema_every": 2, "ema_warmup_copy": True, "warmup_epochs": 2.0}],
    ids=str,
)
def test_the_exponential_average_equals_its_formula(changes):
    average, weights = follow(20, ema=0.9, **changes)
    every, expected, updates = changes.get("ema_every", 1), weights[0], 0
    for step in range(1, 21):
        if step % every:
            continue
        updates += 1
        decay = min(0.9, (1 + updates) / (10 + updates)) if changes.get("ema_ramp") else 0.9
        if changes.get("ema_warmup_copy") and step <= 4:
            decay = 0.0
        expected = decay * expected + (1 - decay) * weights[step]
    torch.testing.assert_close(flat(average.network), expected, rtol=1e-5, atol=1e-6)
    assert average.network[1].num_batches_tracked == 20 - 20 % every and not average.network.training


def test_the_equal_average_is_the_mean_of_the_last_epochs_ends():
    average, weights = follow(12, epochs=6, swa=4)
    torch.testing.assert_close(flat(average.network), torch.stack(weights[6::2]).mean(0), rtol=1e-5, atol=1e-6)
    assert average.count == 4
    average.recipe.epochs = 12  # training goes on: the average begins again, with epoch 9
    for step, count in zip(range(13, 20, 2), (0, 0, 1, 2), strict=True):
        average.to(torch.device("cpu"))  # forgets the other network
        average.after_step(last := layers(), step, 2)
        assert average.count == count and torch.equal(flat(average.network), flat(last)) == (count < 2)


def test_the_remaining_weight_of_the_initial_weights():
    recipe = recipe_of("wrn", ema=0.9999)
    assert remaining_initial_weight(recipe, 1000, 50) == pytest.approx(0.9999**1000)
    assert remaining_initial_weight(recipe_of("wrn", ema=0.9999, ema_ramp=True), 1000, 50) < 1e-9
    copied = recipe_of("wrn", ema=0.9999, ema_warmup_copy=True, warmup_epochs=1.0)
    assert remaining_initial_weight(copied, 1000, 50) == 0
    assert remaining_initial_weight(recipe_of("wrn"), 1000, 50) == 0
    ramped = recipe_of("wrn", ema=0.9999, ema_ramp=True)
    assert [ema_decay(ramped, n) for n in (1, 8)] == [2 / 11, 0.5] and ema_decay(ramped, 10**6) == 0.9999


# ---- statistics


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_micro_batches_of_a_step_update_the_statistics_once(count):
    """With the same result as the average over `count` devices that have a micro-batch each."""
    batches = torch.randn(count, 4, 3, 8, 8)
    alone = []
    for batch in batches:
        network = normalised()
        network(batch)
        alone.append(torch.cat(running_statistics([network[1], network[4]])))
    network = normalised()
    accumulated = AccumulatedBatchNorm(network)
    for step in range(2):  # the second step starts from the first one's statistics
        for index, batch in enumerate(batches):
            with accumulated.micro_batch(index, count):
                network(batch)
        found = torch.cat(running_statistics([network[1], network[4]]))
        if step == 0:
            torch.testing.assert_close(found, torch.stack(alone).mean(0))
    assert not torch.allclose(found, torch.stack(alone).mean(0))
    assert network[1].num_batches_tracked == network[4].num_batches_tracked == 2 * count


def test_recomputed_statistics_equal_those_of_torchs_update_bn():
    batches = [torch.randn(4, 3, 8, 8) for _ in range(5)]
    ours, theirs = normalised(), normalised()
    for network in (ours, theirs):
        network(torch.randn(4, 3, 8, 8))  # leaves statistics behind
        network.eval()
    all_trained = [True for _ in ours.modules()]
    assert recompute(ours, all_trained, iter(batches)) == 5 and not ours.training and ours[1].momentum == 0.1
    update_bn(batches, theirs)
    torch.testing.assert_close(*(running_statistics([network[1], network[4]]) for network in (ours, theirs)))
