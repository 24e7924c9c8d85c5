"""Parameter groups and optimisers. SGD is torch's; the others are timm's, by timm's names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from lineage.recipes.recipe import Recipe, RecipeError

NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # the first: of batches and of instances
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The trainable parameters, those together that have the same weight decay and the same share of the rate.

    A group states both: `weight_decay`, and `lr_scale`, which its rate is `learning_rate(...)` times.

    Raises:
        RecipeError: layer_decay, of a network that does not tell the depth of its layers.
    """
    scales = layer_scales(network, recipe.layer_decay) if recipe.layer_decay else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        owner, _, last = name.rpartition(".")
        kind = parameter_kind(network.get_submodule(owner), last, parameter)
        decay, scale = weight_decay(recipe, kind), scales.get(name, 1.0)
        if recipe.norm_bias_lr_factor and kind == "norm_bias":
            # A step shrinks a parameter by rate x decay, which airbench keeps the same for all (arXiv 2404.00498).
            decay, scale = decay / recipe.norm_bias_lr_factor, recipe.norm_bias_lr_factor
        groups.setdefault((decay, scale), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (decay, scale), parameters in groups.items()
    ]


def parameter_kinds(network: nn.Module) -> set[str]:
    """The parameter_kinds of parameters that are trained."""
    return {
        parameter_kind(network.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], parameter)
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }


def parameter_kind(module: nn.Module, name: str, parameter: nn.Parameter) -> str:
    """What the parameter `name` of a layer is: norm_weight, norm_bias, bias, scale, depthwise or weight.

    A scale is a vector that is none of normalisation's but multiplies as its weights do, as the coefficients of
    LeNet-5's subsampling or a LayerScale: timm, too, decays no vectors where it decays no normalisation.
    """
    if isinstance(module, NORMALISATIONS):
        return "norm_bias" if name == "bias" else "norm_weight"
    if name == "bias" or (parameter.ndim <= 1 and name.endswith("bias")):
        return "bias"
    if parameter.ndim <= 1:
        return "scale"
    depthwise = isinstance(module, CONVOLUTIONS) and module.groups == module.in_channels > 1
    return "depthwise" if depthwise else "weight"


def weight_decay(recipe: Recipe, kind: str) -> float:
    """The weight decay of a kind of parameters."""
    decays = {
        "weight": True,
        "depthwise": not recipe.no_decay_depthwise,
        "bias": recipe.decay_bias,
        "scale": recipe.decay_norm,
        "norm_weight": recipe.decay_norm,
        "norm_bias": recipe.decay_norm,
    }
    return recipe.weight_decay if decays[kind] else 0.0


def layer_scales(network: nn.Module, layer_decay: float) -> dict[str, float]:
    """The share of the rate of each parameter: layer_decay ** (layers behind its own); the head's is 1.

    Source: BEiT's fine-tuning (arXiv 2106.08254, appendix), as timm's param_groups_layer_decay.
    """
    if not hasattr(network, "parameter_layers"):
        raise RecipeError(f"recipe.layer_decay: {type(network).__name__} does not tell the depth of its layers; set 0.")
    layers: list[list[str]] = network.parameter_layers()  # type: ignore[operator]
    return {name: layer_decay**behind for behind, names in enumerate(reversed(layers)) for name in names}


def build_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's trainable parameters, fused where torch has it.

    timm's "sgd" means Nesterov and its "momentum" means plain SGD; here `nesterov` says which.
    """
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "sgd":
        # The fused one undoes fp16's scale itself, after the gradients were clipped: where they are, it is not taken.
        fused = _can_fuse(network) and not recipe.grad_clip
        return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
    betas = (recipe.momentum, recipe.beta2)
    if recipe.optimizer == "lamb":
        from lineage.recipes.optim.lamb import Lamb

        return Lamb(groups, recipe.lr, betas=betas, eps=recipe.eps, max_grad_norm=recipe.lamb_clip or None)
    from timm.optim import create_optimizer_v2

    eps = {"eps": recipe.eps}
    options: dict[str, dict[str, Any]] = {
        "adamw": {"betas": betas, **eps},
        "adam": {"betas": betas, **eps},
        "nadamw": {"betas": betas, **eps},
        "rmsproptf": {"momentum": recipe.momentum, "alpha": recipe.beta2, **eps},  # eps inside the root
        "lars": {"momentum": recipe.momentum, "trust_coeff": recipe.lars_trust, **eps},
        "lion": {"betas": betas},
    }
    return create_optimizer_v2(groups, opt=recipe.optimizer, lr=recipe.lr, **options[recipe.optimizer])


def _can_fuse(network: nn.Module) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in network.parameters())
