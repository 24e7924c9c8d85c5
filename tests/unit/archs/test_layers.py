"""tests/golden/layers.csv: weights at the start, normalisation, dropout, drop path, order of layers, by their sources."""

import csv
import math
from fnmatch import fnmatchcase

import pytest
import torch
from networks import GOLDEN, build, channels_of
from torch import Tensor, nn

from lineage.archs.blocks import DropPath
from lineage.archs.cells import ScheduledDropPath

FACTS: dict[str, list[dict[str, str]]] = {}
with open(GOLDEN / "layers.csv", newline="") as file:
    for row in csv.DictReader(file):
        FACTS.setdefault(row["config"], []).append(row)


def number(arithmetic: str) -> float:
    return eval(arithmetic, {"sqrt": math.sqrt})


def check_weights(weights: Tensor, distribution: str, deviation: float) -> None:
    """Deviation within four of its standard errors, and no value where the distribution has none."""
    weights, count = weights.detach(), weights.numel()
    if distribution == "constant":
        assert (weights == deviation).all()
        return
    cut = 0.87962566 if distribution == "truncated" else 1.0  # what a cut at two deviations leaves
    largest, error = float(weights.abs().max()), 4 / math.sqrt(2 * count)
    if count >= 100:
        assert weights.std().item() == pytest.approx(cut * deviation, rel=error)
        assert weights.mean().item() == pytest.approx(0, abs=4 * deviation / math.sqrt(count))
    most = {"uniform": math.sqrt(3), "truncated": 2.0}.get(distribution, 6.0) * deviation
    assert largest <= most * 1.0001
    assert distribution != "normal" or largest > 2.2 * deviation


def order(network: nn.Module, part: nn.Module, channels: int) -> list[str]:
    """The classes of the layers in a part of a network, in the order in which they run."""
    ran: list[str] = []
    leaves = [module for module in part.modules() if not [*module.children()]]
    hooks = [leaf.register_forward_hook(lambda module, *_: ran.append(type(module).__name__)) for leaf in leaves]
    network.train()(torch.zeros(2, channels, network.min_size, network.min_size))
    for hook in hooks:
        hook.remove()
    return ran


def rates(network: nn.Module) -> list[float]:
    drops = [module for module in network.modules() if isinstance(module, DropPath)]
    return [1 - float(drop.keep) if isinstance(drop, ScheduledDropPath) else drop.rate for drop in drops]


@pytest.mark.parametrize("config", FACTS)
def test_facts(config):
    network = build(config)
    for fact in FACTS[config]:
        attribute, value = fact["attribute"], fact["value"]
        if attribute.startswith("rates"):
            network.set_progress(float(attribute.partition(" at ")[2] or 1))
            assert rates(network) == pytest.approx([float(rate) for rate in value.split()], abs=1e-6), fact
            continue
        parts = [module for name, module in network.named_modules() if fnmatchcase(name, fact["layers"])]
        parts = [part for part in parts if attribute == "order" or getattr(part, attribute, None) is not None]
        assert parts, fact
        for part in parts:
            if attribute == "order":
                assert order(network, part, channels_of(config)) == value.split()
            elif isinstance(found := getattr(part, attribute), Tensor):
                distribution, _, deviation = value.partition(" ")
                check_weights(found, distribution, number(deviation))
            else:
                assert found == pytest.approx(number(value)), fact
