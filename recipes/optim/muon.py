"""Muon for the filters of convolutions, and SGD for all other parameters, in one optimiser."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of X, (X X^T) X and (X X^T)^2 X


class Muon(torch.optim.Optimizer):
    """SGD with momentum whose update of a filter is orthogonalised (https://kellerjordan.github.io/posts/muon).

    A filter w (out, in, h, w) is a matrix (out, in h w): w <- sqrt(out) w / ||w|| - lr orthogonal(g + momentum buffer),
    as in airbench94_muon.py of KellerJordan/cifar10-airbench. torch.optim.Muon takes matrices alone, timm's gives other
    parameters AdamW's step, and neither normalises w. Each group has its `momentum`, and `filters`: whether its
    parameters get Muon's step, by so many iterations of Newton and Schulz.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, *, nesterov: bool, iterations: int) -> None:
        super().__init__(groups, {"lr": lr, "nesterov": nesterov, "iterations": iterations})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            if parameters := [p for p in group["params"] if p.grad is not None]:
                self._update(group, parameters)
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        updates: Any = [p.grad for p in parameters]
        if group["weight_decay"]:
            updates = torch._foreach_add(updates, parameters, alpha=group["weight_decay"])
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers: Any = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, updates)
        updates = torch._foreach_add(updates, buffers, alpha=group["momentum"]) if group["nesterov"] else buffers
        if group["filters"]:
            updates = orthogonalised(updates, group["iterations"])
            norms = torch._foreach_norm(parameters)
            torch._foreach_clamp_min_(norms, 1e-7)
            torch._foreach_div_(parameters, norms)
            torch._foreach_mul_(parameters, [len(p) ** 0.5 for p in parameters])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def orthogonalised(tensors: list[Tensor], iterations: int) -> list[Tensor]:
    """The nearly orthogonal matrix of each tensor (out, ...); those of one shape are computed together."""
    places = defaultdict(list)
    for place, tensor in enumerate(tensors):
        places[tensor.flatten(1).shape].append(place)
    results = [*tensors]
    for same in places.values():
        matrices = newton_schulz(torch.stack([tensors[place].flatten(1) for place in same]), iterations)
        for place, matrix in zip(same, matrices, strict=True):
            results[place] = matrix.reshape(tensors[place].shape)
    return results


def newton_schulz(matrices: Tensor, iterations: int) -> Tensor:
    """(n, rows, columns) with singular values of about 1 instead of theirs; in bf16, or in float64 if given so."""
    x = matrices if matrices.dtype == torch.float64 else matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value is above 1
    a, b, c = COEFFICIENTS
    for _ in range(iterations):
        gram = x @ x.mT  # (n, rows, rows)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
