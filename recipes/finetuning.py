"""Training of the classifier alone, at the resolution of the test (FixRes)."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipes.recipe import RecipeError


def prepare_finetuning(network: nn.Module) -> None:
    """Leave the last linear layer alone to training; the last batch normalisation's statistics follow the data.

    Source: Touvron et al. 2019, arXiv 1906.06423, section 4. The paper trains the weights of that normalisation too;
    its code (imnet_finetune/train.py) trains the linear layer alone, as here.

    Raises:
        RecipeError: the network has no linear classifier.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise RecipeError("recipe.finetune=classifier: the network has no linear classifier.")
    network.requires_grad_(False).eval()
    linear[-1].requires_grad_(True).train()
    for layer in [module for module in network.modules() if isinstance(module, _BatchNorm)][-1:]:
        layer.train()
