"""Averages of the weights beside the trained ones: exponential (EMA) and equal (SWA), used for validation and test."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from recipes.recipe import Recipe


class Average:
    """A second copy of the network that follows the first.

    EMA: average = decay * average + (1 - decay) * weights, after every step, statistics of BN included.
    SWA (Izmailov et al. 2018, arXiv 1803.05407): the mean of the weights at the end of each of the last `swa` epochs;
    the statistics of BN are averaged too, instead of a further pass over the data.
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.decay, self.first_epoch = recipe.ema, recipe.epochs - recipe.swa
        self.count = 0  # SWA: epochs averaged so far
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    def after_step(self, network: nn.Module, step: int, steps_per_epoch: int) -> None:
        """Follow the network once step `step`, counted from 0 over the whole run, is done."""
        epoch, ends_epoch = step // steps_per_epoch, (step + 1) % steps_per_epoch == 0
        if self.decay:
            self._move_towards(network, 1 - self.decay)
        elif ends_epoch and epoch < self.first_epoch:
            self._move_towards(network, 1.0)
        elif ends_epoch:
            self.count += 1
            self._move_towards(network, 1 / self.count)

    @torch.no_grad()
    def _move_towards(self, network: nn.Module, weight: float) -> None:
        mine, others = _tensors(self.network), _tensors(network)
        floats = [i for i, tensor in enumerate(mine) if tensor.is_floating_point()]
        torch._foreach_lerp_([mine[i] for i in floats], [others[i] for i in floats], weight)
        for i in set(range(len(mine))) - set(floats):
            mine[i].copy_(others[i])

    def state_dict(self) -> dict:
        return {"count": self.count, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]
        self.network.load_state_dict(state["network"])


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
