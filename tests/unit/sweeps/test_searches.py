"""The searches: what they ask for is a function of their seed and of what they are told; they learn; PPO's gradient."""

from random import Random
from statistics import fmean

import numpy
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from lineage.errors import UserError
from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Outcome
from lineage.sweeps.strategies.controller import Controller
from lineage.sweeps.strategies.evolution import Evolution
from lineage.sweeps.strategies.policy import Policy, chosen_only, ppo_loss
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
    """Three workers, which end in any order, and a kill: rebuilt and told the same, a search goes on as before."""
    rewards, random, running, history = {}, Random(0), [], []
    search = SEARCHES[name](where, 40, 5)
    while True:
        asked = search.ask(3 - len(running))
        history.append((3 - len(running), list(asked)))
        running += asked
        if not running:
            break
        point = running.pop(random.randrange(len(running)))
        rewards.setdefault(point, 0.0 if random.random() < 0.1 else random.random())
        search.tell(point, Outcome((rewards[point],)))
        history.append(point)
    assert sum(len(event[1]) for event in history if isinstance(event[0], int)) == 40
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    again = SEARCHES[name](where, 40, 5)
    for event in history:
        if isinstance(event[0], int):
            assert list(again.ask(event[0])) == event[1]
        else:
            again.tell(event, Outcome((rewards[event],)))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    other = searched(SEARCHES[name](where, 40, 6), lambda point: 0.5)
    assert other != searched(SEARCHES[name](where, 40, 5), lambda point: 0.5)


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
    search = Controller(PLAIN, 20, 0, ONE, baseline_decay=0.5)
    assert search._advantages([1.0, 0.0]) == [0.5, -0.5]  # of the first batch its own mean, 0.5
    assert search._advantages([1.0]) == [1 - 0.375]  # 0.5 -> 0.75 -> 0.375


@pytest.mark.parametrize("search", [Evolution, Controller])
def test_one_objective(search):
    for directions in (["minimize"], ["maximize", "minimize"]):
        with pytest.raises(UserError, match="one objective"):
            search(PLAIN, 9, 0, directions)
    if search is Controller:
        with pytest.raises(UserError, match=r"x=choice"):
            search(space("x=interval(0,1)"), 9, 0, ONE)


SIZES, HIDDEN, BATCH = [2, 4, 3], 5, 6


def log_probabilities(weights: dict[str, numpy.ndarray], choices: numpy.ndarray) -> list[list[numpy.ndarray]]:
    """Of the options of each decision, for each sample: an LSTM written out."""
    found = []
    for chosen in choices.T:
        state, cell, read, rows = numpy.zeros(HIDDEN), numpy.zeros(HIDDEN), numpy.zeros(HIDDEN), []
        for t, size in enumerate(SIZES):
            gates = weights["lstm.weight_ih_l0"] @ read + weights["lstm.weight_hh_l0"] @ state
            gates = gates + weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
            i, f, g, o = gates.reshape(4, HIDDEN)
            i, f, o = (1 / (1 + numpy.exp(-gate)) for gate in (i, f, o))
            cell = f * cell + i * numpy.tanh(g)
            state = o * numpy.tanh(cell)
            scores = (state @ weights["weight"][t] + weights["bias"][t, 0])[:size]
            rows.append(scores - numpy.log(numpy.exp(scores).sum()))
            read = weights["embedding"][t, chosen[t]]
        found.append(rows)
    return found


def loss(weights, choices, before, advantages, clip: float, entropy: float) -> float:
    gain = 0.0
    for b, rows in enumerate(log_probabilities(weights, choices)):
        for t, row in enumerate(rows):
            ratio = numpy.exp(row[choices[t, b]] - before[t, b])
            gain += min(ratio * advantages[b], numpy.clip(ratio, 1 - clip, 1 + clip) * advantages[b])
            gain -= entropy * (numpy.exp(row) * row).sum()
    return -gain / choices.shape[1]


def test_the_gradient_of_ppo_is_that_of_the_formula():
    """By differences of the loss written out in NumPy; some ratios are clipped, and the entropy weighs much."""
    policy, generator = Policy(SIZES, HIDDEN, 0.8, seed=3), numpy.random.default_rng(0)
    choices = policy.draw(torch.from_numpy(generator.random((len(SIZES), BATCH))))
    advantages = torch.from_numpy(generator.normal(size=BATCH))
    found = policy(choices)
    before = chosen_only(found.detach(), choices) + torch.from_numpy(generator.normal(size=choices.shape) * 0.3)
    value = ppo_loss(found, choices, before, advantages, 0.2, 0.3)
    value.backward()
    arrays = {name: parameter.detach().numpy() for name, parameter in policy.named_parameters()}
    case = choices.numpy(), before.numpy(), advantages.numpy(), 0.2, 0.3
    assert value.item() == pytest.approx(loss(arrays, *case), abs=1e-12)
    for name, parameter in policy.named_parameters():
        for place in map(tuple, generator.integers(0, parameter.shape, size=(12, parameter.dim()))):
            ends = []
            for step in (1e-5, -1e-5):
                moved = {**arrays, name: arrays[name].copy()}
                moved[name][place] += step
                ends.append(loss(moved, *case))
            assert parameter.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-8), (name, place)


def test_options_are_drawn_by_their_probabilities():
    policy = Policy(SIZES, HIDDEN, 0.8, seed=3)
    choices = policy.draw(torch.from_numpy(numpy.random.default_rng(0).random((len(SIZES), 20_000))))
    shares = torch.nn.functional.one_hot(choices).double().mean(1)
    torch.testing.assert_close(policy(choices).exp().mean(1).detach(), shares, atol=0.015, rtol=0)
    assert (torch.tensor(SIZES) - 1 == policy.draw(torch.full((len(SIZES), 1), 1 - 2**-53)).T).all()
