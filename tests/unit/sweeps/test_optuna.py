"""Searches by optuna: its own points on the same seed, pruning, replay and the journal."""

import math

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lineage.sweeps.objectives import Objectives
from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Outcome
from lineage.sweeps.strategies.optuna_search import Optuna

LR, EPOCHS, EMA = "recipe.lr=tag(log,interval(1e-3,1))", "recipe.epochs=int(interval(1,9))", "recipe.ema=0,0.99"
NUMBERS, MIXED = [LR, EPOCHS], [LR, EPOCHS, EMA]
D = optuna.distributions
DISTRIBUTIONS = {
    "recipe.lr": D.FloatDistribution(1e-3, 1, log=True),
    "recipe.epochs": D.IntDistribution(1, 9),
    "recipe.ema": D.CategoricalDistribution(("0", "0.99")),
}
S = optuna.samplers
ONE, TWO = ["maximize"], ["maximize", "minimize"]


def space(words):
    return Space(OverridesParser.create().parse_overrides(words))


def search(words, directions=ONE, sampler="tpe", **keys):
    names = ["val_top1", "macs"][: len(directions)]
    keys = {"trials": 40, "seed": 3, "names": names} | keys
    return Optuna(space(words), **keys, directions=directions, sampler=sampler)


def outcome(point, directions=ONE):
    """A job's: the larger the rate the better, and the dearer; it diverges near a rate of 1."""
    rate = float(point[0].partition("=")[2])
    values = (rate, 1e9 * rate**2) if rate < 0.9 else (0.0, math.inf)
    return Outcome(values[: len(directions)], "finished" if rate < 0.9 else "failed")


@pytest.mark.parametrize(
    ("words", "directions", "sampler", "options", "own"),
    [
        (MIXED, ONE, "tpe", {"n_startup_trials": 5}, S.TPESampler(n_startup_trials=5, seed=3)),
        (MIXED, TWO, "tpe", None, S.TPESampler(seed=3)),
        (MIXED, TWO, "nsga2", {"population_size": 8}, S.NSGAIISampler(population_size=8, seed=3)),
        (NUMBERS, ONE, "cmaes", None, S.CmaEsSampler(seed=3)),
        (MIXED, ONE, "random", None, S.RandomSampler(seed=3)),
    ],
)
def test_optuna_itself_chooses_the_same_points(words, directions, sampler, options, own):
    """Three jobs at a time, of which some diverge."""
    study = optuna.create_study(directions=directions, sampler=own)
    ours = search(words, directions, sampler, sampler_options=options)
    distributions = {word.partition("=")[0]: DISTRIBUTIONS[word.partition("=")[0]] for word in words}
    running = []
    while points := ours.ask(3 - len(running)):
        for point in points:
            trial = study.ask(distributions)
            theirs = [f"{k}={v:.6g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.params.items()]
            assert list(point) == theirs
            running.append((point, trial))
        point, trial = running.pop(len(running) // 2)
        assert not ours.report(point, 1, 0.5)
        ours.tell(point, outcome(point, directions))
        study.tell(trial, outcome(point, directions).values)
    assert len(study.trials) == 40
    assert len({tuple(trial.params.items()) for trial in study.trials}) > 30


@pytest.mark.parametrize(
    ("pruner", "options"),
    [("asha", {"reduction_factor": 2}), ("hyperband", {"max_resource": 30}), ("median", {"n_startup_trials": 1})],
)
def test_replay_of_pruned_jobs(pruner, options):
    """Two jobs at a time report in turn; the replay reports those of a job together, and asks for the same points."""
    keys = {"pruner": pruner, "pruner_options": options, "sampler_options": {"n_startup_trials": 4}}
    ours, running, told, asked = search(MIXED, **keys), {}, [], []

    def accuracy(point, epoch):  # the later a job, the worse: TPE then compares pruned ones
        return outcome(point).values[0] * epoch / 2 ** [other for other, _ in asked].index(point)

    while new := [(point, len(told)) for point in ours.ask(2 - len(running))] or running:
        if new is not running:
            asked += new
            running |= {point: 0 for point, _ in new}
        for point in list(running):
            running[point] += 1
            pruned = ours.report(point, running[point], accuracy(point, running[point]))
            if pruned or running[point] == 30:
                told.append((point, running.pop(point), "pruned" if pruned else "finished"))
                ours.tell(point, Outcome((accuracy(*told[-1][:2]),), told[-1][2]))
    assert [state for _, _, state in told].count("pruned") > 30

    again, known = search(MIXED, **keys), 0
    for point, now in asked:
        for other, epochs, state in told[known:now]:
            for epoch in range(1, epochs + 1):
                again.report(other, epoch, accuracy(other, epoch))
            again.tell(other, Outcome((accuracy(other, epochs),), state))
        assert again.ask(1) == [point]
        known = now


def test_asha_ends_the_worse_half():
    """At 1, 2, 4 and 8 epochs a job needs an accuracy among the best half so far: the last, better one passes."""
    ours = search([LR], sampler="random", pruner="asha", pruner_options={"reduction_factor": 2}, trials=3)
    first, second, third = ours.ask(3)
    assert [ours.report(first, epoch, 0.5) for epoch in range(1, 10)] == [False] * 9
    assert [ours.report(second, epoch, 0.4) for epoch in (1, 2)] == [True, True]
    rows_of_third = ((1, 0.6), (2, 0.6), (3, 0.1), (4, 0.1))  # between two rungs nothing is decided
    assert [ours.report(third, *row) for row in rows_of_third] == [False, False, False, True]


def test_journal(tmp_path):
    """Other programs read the jobs that have ended, in the order of their numbers; a replay writes the same."""
    journal = tmp_path / "optuna-journal.log"
    for _ in range(2):
        (tmp_path / "optuna-journal.log.lock").symlink_to(journal)  # of a process that was killed
        ours = search(MIXED, TWO, trials=3, journal=journal)
        first, second, third = ours.ask(3)
        ours.tell(second, outcome(second, TWO))
        ours.tell(first, Outcome((0.0, math.inf), "failed"))
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        study = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
        assert [trial.values for trial in study.trials] == [[0.0, math.inf], list(outcome(second, TWO).values)]
        assert study.directions == ours.study.directions
        assert study.trials == ours.study.trials[:2]


def test_front_of_two_objectives():
    """Equal ones both belong to it; one that costs as much and is less accurate does not."""
    jobs = [(0.9, 10), (0.8, 10), (0.5, 1), (0.9, 10), (0.4, 2)]
    results = [{"val_top1": top1, "macs": macs} for top1, macs in jobs]
    assert Objectives("val_top1", "macs", None).front(results) == [True, False, True, True, False]
