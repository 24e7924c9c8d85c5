"""Averages of the weights: exponential (EMA) and equal (SWA), used in validation and test, and Lookahead, which
replaces the trained weights."""

import copy
import math

import torch
from torch import Tensor, nn

from lineage.recipes.recipe import Recipe


class Average:
    """A second copy of the network that follows the first.

    EMA: average = d * average + (1 - d) * weights, after every `ema_every` steps, of batch norm's statistics too.
    With `ema_ramp`, d = min(ema, (1 + n) / (10 + n)) at update n, counted from 1, as TensorFlow's
    ExponentialMovingAverage with num_updates; with `ema_warmup_copy` d = 0 during warm-up, as in pycls and torchvision.

    SWA (Izmailov et al. 2018, arXiv 1803.05407): the mean of the weights at the end of each of the last `swa` epochs.
    The statistics of batch norm are not averaged but recomputed (recipes/optim/batch_norm_statistics.py).
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.recipe = recipe
        self.count = 0  # updates so far; of SWA, epochs
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._pairs: list[tuple[list[Tensor], list[Tensor]]] = []  # (own, the network's): floats, then counters

    def to(self, device: torch.device) -> None:
        self.network.to(device)
        self._pairs = []

    def after_step(self, network: nn.Module, step: int, steps_per_epoch: int) -> None:
        """Update the average after step `step`, counted from 0 over the whole run, if one is due."""
        recipe, done = self.recipe, step + 1
        if recipe.ema:
            if done % max(recipe.ema_every, 1) == 0:
                self.count += 1
                copies = recipe.ema_warmup_copy and done <= recipe.warmup_epochs * steps_per_epoch
                self._update(network, 1.0 if copies else 1 - ema_decay(recipe, self.count))
        elif done % steps_per_epoch == 0:
            averages = done // steps_per_epoch > recipe.epochs - recipe.swa
            self.count = self.count + 1 if averages else 0  # a run that is trained longer begins again
            self._update(network, 1 / self.count if averages else 1.0)

    @torch.no_grad()
    def _update(self, network: nn.Module, weight: float) -> None:
        if not self._pairs:
            self._pairs = [(_tensors(self.network, floats), _tensors(network, floats)) for floats in (True, False)]
        floats, counters = self._pairs
        torch._foreach_lerp_(*floats, weight)
        if counters[0]:
            torch._foreach_copy_(*counters)

    def state_dict(self) -> dict:
        return {"count": self.count, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]
        self.network.load_state_dict(state["network"])


def ema_decay(recipe: Recipe, update: int) -> float:
    """The decay at update `update`, counted from 1."""
    return min(recipe.ema, (1 + update) / (10 + update)) if recipe.ema_ramp else recipe.ema


def remaining_initial_weight(recipe: Recipe, steps: int, steps_per_epoch: int) -> float:
    """The weight, in [0, 1], that the exponential average gives to the initial weights after `steps`."""
    every = max(recipe.ema_every, 1)
    if not recipe.ema or (recipe.ema_warmup_copy and recipe.warmup_epochs * steps_per_epoch >= every):
        return 0.0
    updates = min(steps // every, 10**6)  # which takes a tenth of a second
    return math.prod(ema_decay(recipe, update) for update in range(1, updates + 1))


def _tensors(network: nn.Module, floats: bool = True) -> list[Tensor]:
    """Parameters, then buffers; or the counters, batch norm's numbers of batches."""
    return [each for each in (*network.parameters(), *network.buffers()) if each.is_floating_point() == floats]


class Lookahead:
    """Every `lookahead_steps` steps: slow = d slow + (1 - d) weights, then weights = slow.

    As in airbench94 (arXiv 2404.00498, section 3.4), d = lookahead (t / T)^3 grows over the T steps, buffers are
    included, and after the last step weights = slow once more. In Zhang et al. 2019 (arXiv 1907.08610) d is constant.
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.decay, self.every = recipe.lookahead, recipe.lookahead_steps
        self.parameters = sum(parameter.is_floating_point() for parameter in network.parameters())
        self.slow = [tensor.detach().clone() for tensor in _tensors(network)]

    def to(self, device: torch.device) -> None:
        self.slow = [tensor.to(device) for tensor in self.slow]

    def statistics(self) -> list[Tensor]:
        """The slow buffers, which differ between devices."""
        return self.slow[self.parameters :]

    @torch.no_grad()
    def restart(self, network: nn.Module) -> None:
        """Set the slow weights to the network's current ones."""
        torch._foreach_copy_(self.slow, _tensors(network))

    @torch.no_grad()
    def after_step(self, network: nn.Module, step: int, total_steps: int) -> None:
        """Update both after step `step`, counted from 0, if one is due."""
        done = step + 1
        due = done % self.every == 0
        if due or done == total_steps:
            weights = _tensors(network)
            if due:
                torch._foreach_lerp_(self.slow, weights, 1 - self.decay * (done / total_steps) ** 3)
            torch._foreach_copy_(weights, self.slow)

    def state_dict(self) -> dict:
        return {"slow": self.slow}

    def load_state_dict(self, state: dict) -> None:
        torch._foreach_copy_(self.slow, state["slow"])
