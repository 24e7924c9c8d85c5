"""What an optimiser's step costs, beside the library's that it equals: python benchmarks/optimizers.py [--rounds 15]

On one thread, on ResNet-50; the sides take turns, and the medians of the pairs' ratios hold where single times drift.
"""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.recipes import recipe_of
from benchmarks.sides import command, compare, seconds


def lamb(rounds: int) -> None:
    """recipe=rsb_a2's LAMB against timm's, tensor by tensor (its choice on a CPU) and foreach."""
    import timm.optim
    import torch

    from lineage.archs import catalogue
    from lineage.recipes.optim.optimizers import build_optimizer, parameter_groups

    recipe, network = recipe_of("rsb_a2"), catalogue.build("resnet50", 1000, 3, resolution=224)
    for parameter in network.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    steps = {"lineage": build_optimizer(recipe, network).step}
    for name, foreach in (("timm", False), ("timm_foreach", True)):
        groups = parameter_groups(copy.deepcopy(network), recipe)
        for group in groups:
            for parameter in group["params"]:
                parameter.grad = 1e-3 * torch.randn_like(parameter)
        steps[name] = timm.optim.Lamb(groups, recipe.lr, max_grad_norm=1.0, foreach=foreach).step
    for step in steps.values():
        step()  # makes the state
    compare(rounds, **{name: partial(seconds, step) for name, step in steps.items()})


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    command(__doc__, lamb, rounds=15)
