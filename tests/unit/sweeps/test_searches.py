"""The searches: what they ask for is a function of their seed and of what they are told; they learn; PPO's gradient."""

from random import Random
from statistics import fmean

import numpy
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from lineage.analysis.search_chart import means_of_best
from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Outcome
from lineage.sweeps.strategies.controller import Controller
from lineage.sweeps.strategies.evolution import Evolution
from lineage.sweeps.strategies.policy import Policy, ppo_loss
from lineage.sweeps.strategies.random_search import RandomSearch

ONE = ["maximize"]


def space(*words: str) -> Space:
    return Space(OverridesParser.create().parse_overrides(list(words)))


PLAIN = space(*(f"k{i}=0,1,2,3" for i in range(4)), "a=0,1")
CELLS = space('arch.cells="cells(5)"')
SEARCHES = {
    "random": lambda where, trials, seed: RandomSearch(where, trials, seed),
    "evolution": lambda where, trials, seed: Evolution(where, trials, seed, ONE, population=15, sample=5),
    "controller": lambda where, trials, seed: Controller(where, trials, seed, ONE, batch=8, hidden=12, lr=0.02),
}


def total(point) -> float:
    return sum(int(word[-1]) for word in point) / 13


def searched(search, reward, n: int = 1) -> list:
    """The points that it asks for, n at a time, told at once, and their rewards."""
    found = []
    while points := search.ask(n):
        found += [(point, reward(point)) for point in points]
        for point, value in found[-len(points) :]:
            search.tell(point, Outcome((value,)))
    return found


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("where", [PLAIN, CELLS], ids=["plain", "cells"])
def test_asked_and_told_the_same_it_asks_for_the_same(name, where):
    """Three workers that end in any order, until a kill: rebuilt and told the same, a search goes on as before."""
    random, running, history = Random(0), [], []
    search = SEARCHES[name](where, 40, 5)
    while (asked := search.ask(n := 3 - len(running))) or running:
        running += asked
        told = running.pop(random.randrange(len(running))), Outcome((random.random(),))
        search.tell(*told)
        history.append((n, asked, told))
    assert sum(len(asked) for _, asked, _ in history) == 40
    search, other = (SEARCHES[name](where, 40, seed) for seed in (5, 6))
    for n, asked, told in history:
        assert search.ask(n) == asked
        search.tell(*told)
    assert other.ask(1) != history[0][1][:1]


@pytest.mark.parametrize("name", ["evolution", "controller"])
def test_a_search_learns(name):
    found = [reward for _, reward in searched(SEARCHES[name](PLAIN, 400, 0), total)]
    assert fmean(found[-80:]) > 0.7  # 0.5 at random


def test_the_oldest_dies_and_a_child_differs_in_one_decision():
    """The older a point here, the better: a large sample finds the oldest that lives, until it dies."""
    search = Evolution(space("a=0,1,2,3", "b=0,1,2,3", "c=0"), 60, 1, ONE, population=10, sample=200)
    asked = []
    for number in range(60):
        (point,) = search.ask(1)
        if number >= 10:  # the decision c has no other value
            assert [a == b for a, b in zip(point, asked[number - 10], strict=True)].count(False) <= 1
        asked.append(point)
        search.tell(point, Outcome((-number,)))
    assert len(search.living) == 10 and search.ask(1) == []


def test_a_controller_waits_for_its_batch_and_ignores_the_order_of_results():
    def after(order) -> list:
        search = SEARCHES["controller"](PLAIN, 20, 0)
        first = [*search.ask(3), *search.ask(100)]
        assert len(first) == 8
        for place in order:
            assert search.ask(1) == []
            search.tell(first[place], Outcome((total(first[place]),)))
        return [first, search.ask(8)]

    assert after(range(8)) == after(reversed(range(8)))


def test_the_baseline_is_an_average_of_earlier_rewards():
    search = Controller(PLAIN, 20, 0, ONE, baseline_decay=0.75)
    assert search._advantages([1.0, 0.0]) == [0.5, -0.5]  # of the first batch its own mean, 0.5
    assert search._advantages([1.0]) == [1 - 0.46875]  # 0.5 -> 0.625 -> 0.46875


def test_draws_from_intervals():
    """Half of a logarithmic interval's lie below its geometric mean; each whole number comes as often as another."""
    where = space("a=tag(log,interval(1e-4,1))", "b=int(interval(1,4))", "c=interval(2,3)")
    random = Random(0)
    logs, counts, plain = zip(*(where.draw(random) for _ in range(2000)), strict=True)
    assert 900 < sum(float(value) < 1e-2 for value in logs) < 1100
    assert all(400 < counts.count(str(number)) < 600 for number in range(1, 5))
    assert 900 < sum(float(value) < 2.5 for value in plain) < 1100 and min(map(float, plain)) >= 2
    assert where.at(0) == ["0.0001", "1", "2"] and where.at(1) == ["1", "4", "3"]


SIZES = [2, 4, 3]


def test_what_is_drawn_has_the_probabilities_that_training_sees():
    policy, random = Policy(SIZES, 5, 0.8, seed=3), numpy.random.default_rng(0).random((200, len(SIZES)))
    choices = policy.draw(random.tolist())
    ends = policy(choices).exp().cumsum(-1)
    assert ((ends <= torch.from_numpy(random.T)[..., None]).sum(-1) == choices).all()
    assert policy.draw([[1 - 2**-53] * len(SIZES)]).T.tolist() == [[1, 3, 2]]


def test_the_gradient_of_ppo():
    """That of the formula, written out: some ratios are clipped on either side, and the entropy weighs much."""
    clip, entropy, batch = 0.2, 0.3, 40
    generator = torch.Generator().manual_seed(0)
    scores, was = (torch.randn(3, batch, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    choices = torch.randint(4, (3, batch), generator=generator)
    above = torch.randn(batch, generator=generator, dtype=torch.float64)
    scores.requires_grad_()
    now, before = scores.log_softmax(-1), (scores.detach() + 0.3 * was).log_softmax(-1)
    ppo_loss(now, before, choices, above, clip, entropy).backward()

    chosen, p = torch.nn.functional.one_hot(choices, 4), now.detach().exp()
    ratio = ((p / before.exp()) * chosen).sum(-1)
    counts = torch.where(above > 0, ratio < 1 + clip, ratio > 1 - clip)
    assert 0.1 < counts.double().mean() < 0.9
    gain = (counts * ratio * above)[..., None] * (chosen - p)
    entropies = -(p * p.log()).sum(-1, keepdim=True)
    expected = -(gain - entropy * p * (p.log() + entropies)) / batch
    torch.testing.assert_close(scores.grad, expected, rtol=1e-12, atol=1e-14)


def test_means_of_the_best_so_far():
    assert means_of_best([3, 1, 5, 4], 2) == {2: 2, 3: 4, 4: 4.5} and means_of_best([1], 2) == {}
