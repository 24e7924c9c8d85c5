"""Lookahead: slow weights follow the trained ones and replace them every few steps."""

import torch
from torch import Tensor, nn

from lineage.recipes.recipe import Recipe


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

    def restart(self, network: nn.Module) -> None:
        """Set the slow weights to the network's present ones."""
        torch._foreach_copy_(self.slow, _tensors(network))

    @torch.no_grad()
    def after_step(self, network: nn.Module, step: int, total_steps: int) -> None:
        """Update both after step `step`, counted from 0, if one is due."""
        done, weights = step + 1, _tensors(network)
        if done % self.every == 0:
            torch._foreach_lerp_(self.slow, weights, 1 - self.decay * (done / total_steps) ** 3)
        if done % self.every == 0 or done == total_steps:
            torch._foreach_copy_(weights, self.slow)

    def state_dict(self) -> dict:
        return {"slow": self.slow}

    def load_state_dict(self, state: dict) -> None:
        torch._foreach_copy_(self.slow, state["slow"])


def _tensors(network: nn.Module) -> list[Tensor]:
    return [t.detach() for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]
