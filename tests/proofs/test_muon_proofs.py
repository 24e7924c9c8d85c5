"""recipe=speedrun equals airbench94_muon.py (KellerJordan/cifar10-airbench): 60 steps in float64.

The script's own network and Muon take part where AIRBENCH94_MUON is the path of the script.
"""

import os
import types
from pathlib import Path

import pytest
import torch
from conftest import recipe_of
from torch import nn
from torch.nn import functional as F

from lineage.archs.airbench import Airbench
from lineage.recipes.optim.optimizers import build_optimizer
from lineage.recipes.optim.schedules import learning_rate, whiten_bias_rate

pytestmark = pytest.mark.proofs
STEPS_PER_EPOCH, EPOCHS, IMAGES = 12, 5, 16
WIDTHS = [64, 32, 32]


class MuonByHand:
    """Each filter by itself; the polynomial acts on its singular values, taken from a decomposition."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float, nesterov: bool) -> None:
        self.param_groups = [{"lr": lr}]
        self.momentum, self.sums = momentum, [(p, torch.zeros_like(p)) for p in parameters]

    @torch.no_grad()
    def step(self) -> None:
        for p, total in self.sums:
            total.copy_(self.momentum * total + p.grad)
            u, s, v = torch.linalg.svd((p.grad + self.momentum * total).flatten(1), full_matrices=False)
            s /= s.norm() + 1e-7
            for _ in range(3):
                s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
            p.mul_(len(p) ** 0.5 / p.norm()).sub_(self.param_groups[0]["lr"] * (u * s @ v).view_as(p))


def script() -> tuple[nn.Module, type]:
    if not (path := os.environ.get("AIRBENCH94_MUON")):
        pytest.skip("AIRBENCH94_MUON is not set")
    text, module = Path(path).read_text().partition('if __name__ == "__main__"')[0], types.ModuleType("script")
    float64 = {"@torch.compile\n": "", ".bfloat16()": "", "X /=": "X = X /"}
    for old, new in (float64 | {"=256": "=32", r"\sim": ""}).items():
        text = text.replace(old, new)
    exec(text, module.__dict__)
    network = module.CifarNet().double()
    network.reset()
    return network, module.Muon


@pytest.mark.parametrize("source", [lambda: (Airbench(widths=WIDTHS).double(), MuonByHand), script])
def test_sixty_steps_equal_the_scripts(source):
    torch.manual_seed(0)
    theirs, muon = source()
    ours = Airbench(widths=WIDTHS).double()
    parameters, mine = [*theirs.parameters()], [*ours.parameters()]
    for a, b in zip(parameters, mine, strict=True):
        b.data.copy_(a.data)
    trained = [(name, p) for name, p in theirs.named_parameters() if p.requires_grad]
    biases = [p for name, p in trained if "norm" in name]
    rates = ([parameters[1]], 0.053), (biases, 0.053), ([parameters[-1]], 0.67)
    groups = [{"params": p, "lr": lr, "weight_decay": 2e-6 * 2000 / lr} for p, lr in rates]
    sgd = torch.optim.SGD(groups, momentum=0.85, nesterov=True)
    filters = muon([p for _, p in trained if p.ndim == 4], lr=0.24, momentum=0.6, nesterov=True)
    groups = [(group, group["lr"]) for group in (*sgd.param_groups, *filters.param_groups)]
    recipe = recipe_of("speedrun", epochs=EPOCHS)
    optimizer = build_optimizer(recipe, ours)
    for step in range(STEPS_PER_EPOCH * EPOCHS):
        images, labels = torch.randn(IMAGES, 3, 32, 32, dtype=torch.float64), torch.randint(10, (IMAGES,))
        for network in (theirs, ours):
            network.zero_grad()
            F.cross_entropy(network(images), labels, label_smoothing=0.2, reduction="sum").backward()
        for index, (group, rate) in enumerate(groups):
            group["lr"] = rate * (1 - step / (36 if index == 0 else 60))
        if step >= 36:  # three epochs: the whitening's bias rests
            parameters[1].grad = None
        sgd.step()
        filters.step()
        rate = learning_rate(recipe, step, STEPS_PER_EPOCH)
        for group in optimizer.param_groups:
            own = whiten_bias_rate(recipe, step, STEPS_PER_EPOCH, rate) if group["whiten_bias"] else rate
            group["lr"] = own * group["lr_scale"]
        optimizer.step()
    for a, b in zip(mine, parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * b.abs().max().item())
