"""Slow weights that follow the trained ones, and take their place every few steps (Lookahead)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lineage.recipes.recipe import Recipe


class Lookahead:
    """Every `lookahead_steps` steps: slow = d slow + (1 - d) weights, weights = slow; after the last step once more.

    As in airbench94 (arXiv 2404.00498, section 3.4) d = lookahead (t / T)^3 grows over the T steps, buffers included,
    and in the end the weights are the slow ones alone (d = 1). In Zhang et al. 2019 (arXiv 1907.08610) it is constant.
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.decay, self.every = recipe.lookahead, recipe.lookahead_steps
        self.parameters = sum(parameter.is_floating_point() for parameter in network.parameters())
        self.slow = [tensor.detach().clone() for tensor in _tensors(network)]

    def to(self, device: torch.device) -> None:
        self.slow = [tensor.to(device) for tensor in self.slow]

    def statistics(self) -> list[Tensor]:
        """The slow buffers, which on several devices differ."""
        return self.slow[self.parameters :]

    def restart(self, network: nn.Module) -> None:
        """From the weights as they are now."""
        torch._foreach_copy_(self.slow, _tensors(network))

    @torch.no_grad()
    def after_step(self, network: nn.Module, step: int, total_steps: int) -> None:
        """Meet, if it is time to, once step `step`, counted from 0, is done."""
        done, weights = step + 1, _tensors(network)
        if done % self.every == 0:
            torch._foreach_lerp_(self.slow, weights, 1 - self.decay * (done / total_steps) ** 3)
            torch._foreach_copy_(weights, self.slow)
        if done == total_steps:
            torch._foreach_copy_(weights, self.slow)

    def state_dict(self) -> dict:
        return {"slow": self.slow}

    def load_state_dict(self, state: dict) -> None:
        torch._foreach_copy_(self.slow, state["slow"])


def _tensors(network: nn.Module) -> list[Tensor]:
    return [t.detach() for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]
