"""Parameter groups, optimisers and fine-tuning. SGD is torch's, Muon ours; the other optimisers are timm's, under
timm's names."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from lineage.recipes.optim.muon import Muon
from lineage.recipes.recipe import Recipe, RecipeError

NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # _NormBase: batch and instance norm
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Group(NamedTuple):
    weight_decay: float
    lr_scale: float = 1.0  # factor of the learning rate
    filters: bool = False  # whether Muon orthogonalises their updates
    whiten_bias: bool = False  # whether it has the rate of whiten_bias_rate


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by the fields of Group. Raises RecipeError: see layer_scales."""
    scales = layer_scales(network, recipe.layer_decay) if recipe.layer_decay else {}
    groups: dict[Group, list[nn.Parameter]] = {}
    for name, parameter, kind in trainable_parameters(network):
        filters = recipe.optimizer == "muon" and parameter.ndim > 2
        decay = 0.0 if filters else weight_decay(recipe, kind)  # Muon gives filters a fixed norm
        # A step shrinks a parameter by rate x decay, which airbench keeps equal for all (arXiv 2404.00498).
        factor = _lr_factor(recipe, parameter, kind)
        whiten_bias = bool(recipe.whiten_bias_epochs) and parameter is getattr(network, "whiten_bias", None)
        group = Group(decay / factor, factor * scales.get(name, 1.0), filters, whiten_bias)
        groups.setdefault(group, []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: item[0].whiten_bias)  # the first group's rate is reported
    return [{"params": parameters, **group._asdict()} for group, parameters in ordered]


def _lr_factor(recipe: Recipe, parameter: nn.Parameter, kind: str) -> float:
    """The rate of a kind of parameters over `lr`."""
    if recipe.optimizer == "muon" and parameter.ndim <= 2:
        return (recipe.head_lr if parameter.ndim == 2 else recipe.bias_lr) / recipe.lr
    return recipe.norm_bias_lr_factor if recipe.norm_bias_lr_factor and kind == "norm_bias" else 1.0


def trainable_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Name, parameter and kind."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            module, _, last = name.rpartition(".")
            yield name, parameter, parameter_kind(network.get_submodule(module), last, parameter)


def parameter_kind(module: nn.Module, name: str, parameter: nn.Parameter) -> str:
    """The kind of the parameter `name` of a module: norm_weight, norm_bias, bias, scale, depthwise or weight.

    A scale is any other vector that multiplies, such as the coefficients of LeNet-5's subsampling or a LayerScale. It
    follows `decay_norm`, since timm treats all vectors alike.
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
    decays = {"weight": True, "depthwise": not recipe.no_decay_depthwise, "bias": recipe.decay_bias}
    return recipe.weight_decay if decays.get(kind, recipe.decay_norm) else 0.0


def layer_scales(network: nn.Module, layer_decay: float) -> dict[str, float]:
    """The `lr_scale` of each parameter: layer_decay ** (number of later layers), so the head's is 1, as in BEiT's
    fine-tuning (arXiv 2106.08254, appendix). Raises RecipeError: the network does not state the depth of its layers."""
    if not hasattr(network, "parameter_layers"):
        raise RecipeError(f"recipe.layer_decay: {type(network).__name__} does not state its layers' depth; set 0.")
    layers: Any = network.parameter_layers()  # type: ignore[operator]
    return {name: layer_decay**later for later, names in enumerate(reversed(layers)) for name in names}


def build_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's trainable parameters, fused where torch has it.

    timm's "sgd" means Nesterov and its "momentum" means plain SGD; here `nesterov` says which.
    """
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "sgd":
        # Fused SGD undoes fp16's scale in its own step, which is too late where gradients are clipped. False would
        # mean tensor by tensor on a GPU too.
        can_fuse = all(p.device.type != "mps" and p.is_floating_point() for p in network.parameters())
        fused = True if can_fuse and not recipe.grad_clip else None
        return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
    if recipe.optimizer == "muon":
        for group in groups:
            group["momentum"] = recipe.momentum if group["filters"] else recipe.sgd_momentum
        return Muon(groups, recipe.lr, nesterov=recipe.nesterov, iterations=recipe.muon_iterations)
    adams: dict[str, Any] = {"betas": (recipe.momentum, recipe.beta2), "eps": recipe.eps}  # adam's, adamw's, nadamw's
    if recipe.optimizer == "lamb":
        from lineage.recipes.optim.lamb import Lamb

        return Lamb(groups, recipe.lr, **adams, max_grad_norm=recipe.lamb_clip or None)
    from timm.optim import create_optimizer_v2

    options = {
        "lion": {"betas": adams["betas"]},
        "rmsproptf": {"momentum": recipe.momentum, "alpha": recipe.beta2, "eps": recipe.eps},  # eps inside the root
        "lars": {"momentum": recipe.momentum, "trust_coeff": recipe.lars_trust, "eps": recipe.eps},
    }.get(recipe.optimizer, adams)
    return create_optimizer_v2(groups, opt=recipe.optimizer, lr=recipe.lr, **options)


def prepare_finetuning(network: nn.Module) -> None:
    """Freeze everything but the classifier, to train it at the resolution of the test (FixRes, arXiv 1906.06423,
    section 4). Raises RecipeError: the network has no classifier with parameters.

    The statistics of the last batch normalisation follow the data. All other modules, dropout and auxiliary heads too,
    are set to evaluation mode, which Lightning does not change. The paper trains the weights of that normalisation too;
    its code (imnet_finetune/train.py) trains the linear layer alone, as here.
    """
    classifier, auxiliaries = _classifiers(network)
    if not [*classifier.parameters()]:
        raise RecipeError("recipe.finetune=classifier: the network's classifier has no parameters to train.")
    network.requires_grad_(False).eval()
    classifier.requires_grad_(True).train()
    for layer in [m for m in network.modules() if isinstance(m, _BatchNorm) and m not in auxiliaries][-1:]:
        layer.train()


def _classifiers(network: Any) -> tuple[nn.Module, set[nn.Module]]:
    """The classifier, and the modules of auxiliary heads."""
    if not hasattr(network, "classifiers"):  # a timm model
        return network.get_classifier(), set()
    name, *others = network.classifiers
    auxiliaries = {network.get_submodule(other.split(".")[0]) for other in others}
    return network.get_submodule(name), {module for head in auxiliaries for module in head.modules()}
