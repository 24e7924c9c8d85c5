"""Muon for convolutions' filters, and SGD for all other parameters, in one optimiser."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of X, (X X^T) X and (X X^T)^2 X


class Muon(torch.optim.Optimizer):
    """SGD with momentum whose update of a filter is orthogonalised, as in airbench94_muon.py of Jordan's
    cifar10-airbench (https://kellerjordan.github.io/posts/muon).

    A filter w (out, in, h, w) is a matrix (out, in h w): w <- sqrt(out) w / ||w|| - lr orthogonal(g + momentum buffer).
    torch.optim.Muon takes matrices alone, timm's steps one by one with AdamW for the rest, and neither normalises w.

    Args:
        groups: with "filters", whether they get Muon's step and `momentum`, or SGD's and `sgd_momentum`.
        iterations: of Newton and Schulz.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, *, momentum: float, sgd_momentum: float, nesterov: bool,
        iterations: int,
    ) -> None:  # fmt: skip
        groups = [{**group, "momentum": momentum if group["filters"] else sgd_momentum} for group in groups]
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
        gradients: Any = [p.grad for p in parameters]
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
        buffers: Any = [self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in parameters]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        updates = torch._foreach_add(gradients, buffers, alpha=group["momentum"]) if group["nesterov"] else buffers
        if group["filters"]:
            updates = orthogonalised(updates, group["iterations"])
            for p, norm in zip(parameters, torch._foreach_norm(parameters), strict=True):
                p.mul_(len(p) ** 0.5 / norm.clamp(min=1e-7))
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def orthogonalised(tensors: list[Tensor], iterations: int) -> list[Tensor]:
    """The nearly orthogonal matrix of each tensor (out, ...); those of one shape are computed together."""
    same_shape = defaultdict(list)
    for index, tensor in enumerate(tensors):
        same_shape[tensor.flatten(1).shape].append(index)
    results = [*tensors]
    for indices in same_shape.values():
        matrices = newton_schulz(torch.stack([tensors[index].flatten(1) for index in indices]), iterations)
        for index, matrix in zip(indices, matrices, strict=True):
            results[index] = matrix.reshape(tensors[index].shape).to(tensors[index].dtype)
    return results


def newton_schulz(matrices: Tensor, iterations: int) -> Tensor:
    """Singular values of about 1, and the same singular vectors: (n, rows, columns) -> the same, in bf16.

    In float64, which has no use but proofs, it stays there.
    """
    a, b, c = COEFFICIENTS
    x = matrices if matrices.dtype == torch.float64 else matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value is above 1
    for _ in range(iterations):
        gram = x @ x.mT  # the smaller of two squares, (n, rows, rows)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
