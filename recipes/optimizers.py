"""Parameter groups and optimisers. SGD is torch's; the others are timm's, by timm's names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recipes.recipe import Recipe


def parameter_groups(
    network: nn.Module, weight_decay: float, decay_norm: bool, decay_bias: bool
) -> list[dict[str, Any]]:
    """Trainable parameters, in one group or with those of at most one dimension (biases, norms) free of decay."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if decay_norm and decay_bias:
        return [{"params": parameters, "weight_decay": weight_decay}]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's trainable parameters, fused where torch has it.

    timm's "sgd" means Nesterov and its "momentum" means plain SGD; here `nesterov` says which.
    """
    groups = parameter_groups(network, recipe.weight_decay, recipe.decay_norm, recipe.decay_bias)
    if recipe.optimizer == "sgd":
        # The fused one undoes fp16's scale itself, after the gradients were clipped: where they are, it is not taken.
        fused = _can_fuse(network) and not recipe.grad_clip
        return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
    from timm.optim import create_optimizer_v2

    betas = (recipe.momentum, recipe.beta2)
    options: dict[str, dict[str, Any]] = {
        "lamb": {"betas": betas, "max_grad_norm": recipe.lamb_clip or None},
        "adamw": {"betas": betas},
        "adam": {"betas": betas},
        "nadamw": {"betas": betas},
        "rmsproptf": {"momentum": recipe.momentum, "alpha": recipe.beta2},
        "lars": {"momentum": recipe.momentum},
        "lion": {"betas": betas},
    }
    eps: dict[str, Any] = {"eps": recipe.eps} if recipe.eps else {}
    return create_optimizer_v2(
        groups, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, **options[recipe.optimizer], **eps
    )


def _can_fuse(network: nn.Module) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in network.parameters())
