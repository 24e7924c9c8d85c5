"""The driver of a sweep: what a strategy is asked and told, after kills too. Jobs are pretended."""

import json
import signal
import sys
from random import Random

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lineage.errors import Stopped, UserError
from lineage.sweeps import driver, pool
from lineage.sweeps.driver import Search
from lineage.sweeps.jobs import HISTORY, Job, append, load_jobs, read_history
from lineage.sweeps.objectives import Objectives
from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Outcome
from lineage.sweeps.strategies.evolution import Evolution

WORDS = ["run=s", "recipe.lr=1,2,3,4", "seed=0,1,2"]


class Killed(Exception):
    pass


class Pretended:
    """Ends the oldest of its jobs at each look, or what `ends` says, with an accuracy made of its words."""

    def __init__(self, at_once=1, looks=10**9, ends=None, statuses=()):
        self.at_once, self.looks, self.ends, self.statuses = at_once, looks, ends or (lambda jobs: 0), list(statuses)
        self.jobs, self.started, self.told_to_end = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def free(self):
        return self.at_once - len(self.jobs)

    def start(self, job):
        self.jobs.append(job)
        self.started.append(job.number)

    def wait(self):
        self.looks -= 1
        if self.looks < 0:
            raise Killed
        job = self.jobs.pop(self.ends(self.jobs))
        status = self.statuses.pop(0) if self.statuses else 0
        if status == 0:
            job.folder.mkdir(exist_ok=True)
            results = {"test_top1": 0, "val_top1": Random(" ".join(job.overrides)).random(), "seconds": 1}
            (job.folder / "results.json").write_text(json.dumps(results))
        return [(job, status)]

    def end(self, job):
        self.told_to_end.append(job.number)


def search(sweep, jobs, strategy=None, trials=30, words=WORDS, check=lambda words: None):
    space = Space(OverridesParser.create().parse_overrides(words))
    strategy = strategy or Evolution(space, trials, 0, directions=["maximize"], population=5, sample=3)
    Search(sweep, jobs, trials, strategy, space.fixed, check, Objectives("val_top1", None, None)).run()
    return [job.overrides for job in load_jobs(sweep)]


def test_a_killed_driver_asks_for_the_same_jobs_and_runs_none_twice(tmp_path):
    whole = Pretended()
    expected = search(tmp_path / "whole", whole)
    assert 6 <= len(expected) <= 12 and whole.started == list(range(1, len(expected) + 1))  # of 12 points
    for looks in range(len(expected)):
        sweep, first, again = tmp_path / str(looks), Pretended(looks=looks), Pretended()
        with pytest.raises(Killed):
            search(sweep, first)
        with open(sweep / HISTORY, "a") as file:
            file.write('{"told": 1')  # cut by the kill
        assert search(sweep, again) == expected
        assert sorted({*first.started, *again.started}) == whole.started and len(again.started) == len(expected) - looks
        assert (sweep / HISTORY).read_text() == (tmp_path / "whole" / HISTORY).read_text()


@pytest.mark.parametrize("looks", range(1, 8, 2))
def test_the_order_in_which_jobs_end_is_part_of_the_history(looks, tmp_path):
    with pytest.raises(Killed):
        search(tmp_path, Pretended(3, looks, lambda jobs: len(jobs) - 1))  # the last to start ends first
    before, again = read_history(tmp_path), Pretended(3)
    search(tmp_path, again)
    assert read_history(tmp_path)[: len(before)] == before
    told = [event[0] for event in read_history(tmp_path) if isinstance(event, tuple)]
    assert sorted(told) == [job.number for job in load_jobs(tmp_path)]


class Listed:
    """Asks for the points that it is given."""

    def __init__(self, *points):
        self.points, self.told = list(points), []

    def ask(self, n):
        found, self.points = self.points[:n], self.points[n:]
        return found

    def tell(self, point, outcome):
        self.told.append((point, outcome.state))


A, B = ("recipe.lr=1", "seed=0"), ("recipe.lr=2", "seed=0")


def test_a_point_asked_for_again_has_its_known_outcome(tmp_path):
    strategy, jobs = Listed(A, A, B, A), Pretended(2)
    search(tmp_path, jobs, strategy)
    assert jobs.started == [1, 2] and sorted(strategy.told) == sorted([(A, "finished")] * 3 + [(B, "finished")])


def test_a_job_that_was_killed_starts_again_once_and_a_failed_one_stays_failed(tmp_path):
    strategy, jobs = Listed(A, B), Pretended(statuses=[-9, 0, 143, 137])
    search(tmp_path, jobs, strategy)
    assert jobs.started == [1, 1, 2, 2] and strategy.told == [(A, "finished"), (B, "failed")]
    again, strategy = Pretended(), Listed(A, B)
    search(tmp_path, again, strategy)
    assert again.started == [] and strategy.told == [(A, "finished"), (B, "failed")]


def test_a_job_that_another_process_runs_is_not_started_again(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        search(tmp_path, Pretended(looks=0), Listed(A))
    monkeypatch.setattr(driver, "SAVING_S", 0)
    monkeypatch.setattr(driver, "is_in_use", lambda folder: True)
    again = Pretended()
    with pytest.raises(UserError, match="is in use"):
        search(tmp_path, again, Listed(A))
    grid = driver.Driver(tmp_path, again, 1)
    grid.queue = load_jobs(tmp_path)
    grid.run()
    assert again.started == []


def test_an_event_is_on_the_disk_before_the_search_goes_on(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append((tmp_path / HISTORY).read_text()))
    for number in (1, 2):
        append(tmp_path, Job(number, [], tmp_path / "a"))
    assert [text.count("\n") for text in synced] == [1, 2]


def test_a_point_that_cannot_be_trained_counts_as_failed(tmp_path, capsys):
    def check(words):
        if "recipe.lr=1" in words:
            raise UserError("too low.")

    strategy = Listed(A, B)
    assert search(tmp_path, Pretended(), strategy, check=check) == [["run=s", *B]]
    assert strategy.told == [(A, "failed"), (B, "finished")]
    assert "recipe.lr=1 seed=0 cannot be trained: too low." in capsys.readouterr().out


def test_mistakes_end_in_a_line(tmp_path):
    with pytest.raises(UserError, match="The first 3 jobs all failed"):
        search(tmp_path / "a", Pretended(statuses=[1, 1, 1]), Listed(A, B, ("recipe.lr=3", "seed=0"), ("seed=2",)))
    assert len(search(tmp_path / "a", Pretended(), Listed(A, B))) == 2  # they are tried again
    search(tmp_path / "b", Pretended(), Listed(A, B))
    with pytest.raises(UserError, match="job 1 was run=s recipe.lr=1 seed=0, which this command would not ask for"):
        search(tmp_path / "b", Pretended(), Listed(B, A))
    (tmp_path / "b" / "recipe.lr-1_seed-0" / "results.json").unlink()
    with pytest.raises(UserError, match="has lost its results"):
        search(tmp_path / "b", Pretended(), Listed(A, B))
    for line in ('{"told": 1, "state": "finished"}', '{"told": 3, "state": "failed"}', '{"told": 1, "state": "well"}'):
        (tmp_path / "sweep.jsonl").write_text(f'{{"job": "a", "words": []}}\n{line}\n{line}\n')
        with pytest.raises(UserError, match="is damaged .what became of job"):
            load_jobs(tmp_path)


class Pruner(Listed):
    def report(self, point, epoch, value):
        self.told.append((epoch, value))
        return value < 0.5


def test_a_pruned_job_is_ended_and_told_its_last_value(tmp_path):
    class Jobs(Pretended):
        def start(self, job):
            super().start(job)
            job.folder.mkdir(exist_ok=True)
            values = {1: (0.6, 0.7), 2: (0.6, 0.4)}[job.number]
            rows = [f"{epoch},{value}\n" for epoch, value in enumerate(values, start=1)]
            (job.folder / "metrics.csv").write_text("".join(["epoch,val_top1\n", *rows, "3,0."]))  # and half a row

        def end(self, job):
            super().end(job)
            self.statuses = [143]

    strategy, jobs = Pruner(A, B), Jobs()
    outcomes = []
    strategy.tell = lambda point, outcome: outcomes.append(outcome)
    search(tmp_path, jobs, strategy)
    assert (
        jobs.told_to_end == [2] and jobs.started == [1, 2] and strategy.told == [(1, 0.6), (2, 0.7), (1, 0.6), (2, 0.4)]
    )
    assert outcomes[0].state == "finished" and outcomes[1] == Outcome((0.4,), "pruned")
    again, taken_up = Pruner(A, B), load_jobs(tmp_path)[1].folder
    (taken_up / "metrics.csv").write_text("epoch,val_top1\n1,0.6\n2,0.4\n3,0.9\n")
    (taken_up / "results.json").write_text('{"test_top1": 0, "val_top1": 0.9, "seconds": 1}')
    search(tmp_path, Jobs(), again)
    assert again.told == [(1, 0.6), (2, 0.7), (A, "finished"), (1, 0.6), (2, 0.4), (B, "pruned")]


@pytest.mark.parametrize(
    ("gpus", "n_jobs", "devices", "expected"),
    [
        ("0,1", 2, 1, ["0", "1"]),
        ("0,1", 4, 1, ["0", "1", "0", "1"]),  # two jobs a GPU
        ("3,5,6,7", 2, 2, ["3,5", "6,7"]),
        ("0,1,2,3", 2, "auto", ["0,1", "2,3"]),
        ("0", 3, "auto", ["0", "0", "0"]),
        ("", 2, 1, ["", ""]),
        ("-1", 2, 1, ["", ""]),
    ],
)
def test_jobs_at_once_share_gpus_and_cores(gpus, n_jobs, devices, expected, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(pool.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    found = pool.shares(n_jobs, devices)
    assert [share.gpus for share in found] == expected
    assert all(len(share.cores) == 8 // n_jobs for share in found)
    assert n_jobs > 2 or found[0].cores.isdisjoint(found[1].cores)


def test_the_place_of_a_job_that_has_ended_is_the_next_ones(tmp_path, monkeypatch):
    """Three jobs on two GPUs; after a signal no further one begins."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    sleep = "echo $CUDA_VISIBLE_DEVICES; sleep {}"
    monkeypatch.setattr(pool, "line_of", lambda words, _: ["sh", "-c", sleep.format(0 if "/a" in words[-1] else 60)])
    screens = {name: tmp_path / "s" / "screens" / f"{name}.txt" for name in "abc"}
    a, b, c = (Job(number, [], tmp_path / "s" / name) for number, name in enumerate(screens, start=1))
    with pytest.raises(Stopped), pool.Pool(tmp_path / "s", tmp_path, 2, 1) as jobs:
        jobs.start(a)
        jobs.start(b)
        assert jobs.free == 0
        while not (ended := jobs.wait()):
            pass
        assert ended == [(a, 0)] and jobs.free == 1
        jobs.start(c)
        assert set(map(id, jobs.jobs)) == {id(b), id(c)}
        while not screens["c"].read_text():
            pass
        assert {name: path.read_text().strip() for name, path in screens.items()} == {"a": "4", "b": "7", "c": "4"}
        jobs.end(b)
        while not (ended := jobs.wait()):
            pass
        assert ended == [(b, -signal.SIGTERM)] and jobs.free == 1
        signal.raise_signal(signal.SIGTERM)
        assert jobs.free == 0
        while True:
            jobs.wait()


def test_a_signal_reaches_a_job_that_starts_after_it_and_nohup_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "line_of", lambda *_: [sys.executable, "-c", "import time; time.sleep(20)"])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(Stopped), pool.Pool(tmp_path / "s", tmp_path, 1, 1) as jobs:
            for number in (signal.SIGHUP, signal.SIGTERM):
                signal.raise_signal(number)
            jobs.start(Job(1, [], tmp_path / "s" / "a"))
            ((_, process),) = jobs.running.values()
            while not jobs.wait():
                pass
    finally:
        signal.signal(signal.SIGHUP, before)
    assert jobs.received == [signal.SIGTERM] and process.returncode == -signal.SIGTERM
