"""Fine-tuning of the classifier alone, at the resolution of the test (FixRes)."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lineage.recipes.recipe import RecipeError


def prepare_finetuning(network: nn.Module) -> None:
    """Freeze everything but the classifier. The statistics of the last batch normalisation follow the data.

    All other modules, dropout and auxiliary heads too, go into evaluation mode; Lightning does not change the modes.

    Source: Touvron et al. 2019, arXiv 1906.06423, section 4. The paper trains the weights of that normalisation too;
    its code (imnet_finetune/train.py) trains the linear layer alone, as here.

    Raises:
        RecipeError: the network has no classifier with parameters.
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
