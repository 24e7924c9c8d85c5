"""The time of an optimiser's step, against the library's equal one: python benchmarks/optimizers.py [--rounds 15]"""

from __future__ import annotations

import copy

from harness import command, compare, recipe


def lamb(rounds: int) -> None:
    """recipe=rsb_a2's LAMB on ResNet-50 against timm's, one tensor at a time (its default on a CPU) and foreach."""
    import timm.optim
    import torch

    from lineage.archs import catalogue
    from lineage.recipes.optim.optimizers import build_optimizer, parameter_groups

    rsb_a2, network = recipe("rsb_a2"), catalogue.build("resnet50", 1000, 3, resolution=224)
    for parameter in network.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    steps = {"lineage": build_optimizer(rsb_a2, network).step}
    for name, foreach in (("timm", False), ("timm_foreach", True)):
        groups = parameter_groups(copy.deepcopy(network), rsb_a2)
        for group in groups:
            for parameter in group["params"]:
                parameter.grad = 1e-3 * torch.randn_like(parameter)
        steps[name] = timm.optim.Lamb(groups, rsb_a2.lr, max_grad_norm=1.0, foreach=foreach).step
    compare(rounds, **steps)


if __name__ == "__main__":
    command(__doc__, lamb, rounds=15)
