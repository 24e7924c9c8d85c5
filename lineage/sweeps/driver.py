"""Drives a sweep: asks its strategy for points, checks them, runs them as jobs, and tells the strategy the outcomes.

The history (sweep.jsonl) lists what was asked and told, in order. The same command asks and tells it again, which gives
the same jobs, and goes on: numbers come from the results of finished jobs, so nothing else has to be saved.
"""

import csv
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lineage.errors import UserError
from lineage.files import is_in_use
from lineage.running.directory import load_results
from lineage.sweeps.jobs import HISTORY, Job, append, is_done, job_name, read_history, save_history
from lineage.sweeps.objectives import Objectives
from lineage.sweeps.strategies import Outcome, Point, Prunes, State, Strategy

SAVING_S = 30.0  # how long a run may take to save and to end
LONGEST_NAME = 60  # a job with more words to its name has its number
FIRST_FAILURES = 3  # a search whose first jobs all fail has a mistake in it


class Driver:
    """Runs the jobs of a sweep that are not finished.

    Args:
        sweep: its folder.
        pool: what runs jobs: lineage/sweeps/pool.py.
        total: how many jobs there will be, for the screen.
    """

    def __init__(self, sweep: Path, pool: Any, total: int) -> None:
        self.sweep, self.pool, self.total = sweep, pool, total
        self.queue: list[Job] = []
        self.restarted: set[int] = set()
        self.pruned: set[int] = set()
        self.beside = pool.free > 1  # jobs have a line each, since their screens are not shown

    def run(self) -> None:
        """Raises Stopped: this process received a signal to stop."""
        with self.pool:
            while True:
                while self.pool.free and (job := self._next()):
                    self._show(job, "")
                    self.pool.start(job)
                if not self.pool.jobs and self.pool.free:
                    return
                self._look()
                for job, status in self.pool.wait():
                    again = was_stopped(status) and job.number not in self.restarted | self.pruned
                    if again and not is_done(job):
                        self.restarted.add(job.number)  # killed: it goes on at the step that it saved
                        self.queue.insert(0, job)
                    else:
                        self._ended(job)

    def _next(self) -> Job | None:
        """The job to start now."""
        while self.queue:
            job = self.queue.pop(0)
            state = "runs in another process" if stays_in_use(job) else "finished before" if is_done(job) else ""
            if not state:
                return job
            self._show(job, state)
        return None

    def _look(self) -> None:
        """Look at the jobs that run."""

    def _ended(self, job: Job) -> None:
        if self.beside:
            left = "ended early" if job.number in self.pruned else "not finished"
            results = load_results(job.folder) if is_done(job) else {}
            top1 = f", val top-1 {results['val_top1']:.4f}" if "val_top1" in results else ""
            self._show(job, f"{results['seconds']:.0f} s{top1}" if results else left)

    def _show(self, job: Job, state: str) -> None:
        line = f"[{job.number}/{self.total}] {job.folder.name}"
        print(f"{line}: {state or 'begins'}" if self.beside else f"\n{line}{state and ': '}{state}", flush=True)


class Search(Driver):
    """Runs the jobs that a strategy asks for until it asks for no more.

    Args:
        strategy: what is asked and told.
        fixed: the words that all jobs have.
        check: raises UserError if a job of these words cannot work; it then counts as failed.
        objectives: what is told of a finished job.
    """

    def __init__(
        self, sweep: Path, pool: Any, total: int, strategy: Strategy, fixed: Point,
        check: Callable[[Sequence[str]], None], objectives: Objectives,
    ) -> None:  # fmt: skip
        super().__init__(sweep, pool, total)
        self.strategy, self.fixed, self.check, self.objectives = strategy, fixed, check, objectives
        self.jobs: list[Job] = []
        self.by_point: dict[Point, Job] = {}
        self.outcomes: dict[int, Outcome] = {}  # by number
        self.asked = Counter[int]()  # how often a job was asked for whose outcome is not known
        self.seen = Counter[int]()  # how many of its epochs the strategy knows
        self.last: dict[int, float] = {}  # the objective after the last of them
        self._replay()

    def _replay(self) -> None:
        events = read_history(self.sweep)
        for event in events:
            if isinstance(event, Job):
                asked = self._ask(event.folder)
                if asked is None or asked.overrides != event.overrides:
                    was = f"{self.sweep / HISTORY}: job {event.number} was {' '.join(event.overrides)}"
                    said = "Give the one that it was started with, or another run=NAME."
                    raise UserError(f"{was}, which this command would not ask for. {said}")
            else:
                number, state, epochs = event
                self._tell(self.jobs[number - 1], state, epochs)
        self.queue = [job for job in self.jobs if job.number not in self.outcomes]
        for job in self.queue:
            self._report(job)  # it has passed these epochs: later ones decide
        save_history(self.sweep, events)  # without a line that a kill cut

    def _next(self) -> Job | None:
        while self.queue:
            job = self.queue.pop(0)
            if stays_in_use(job):
                raise UserError(f"{job.folder} is in use: when that process has ended, the same command goes on.")
            if not is_done(job):
                return job
            self._ended(job)
        asked = self._ask()
        if asked is not None:
            append(self.sweep, asked)
        return asked

    def _ask(self, folder: Path | None = None) -> Job | None:
        """The next job that is a new one, in the folder that it has already; None: the strategy waits, or has ended."""
        while points := self.strategy.ask(1):
            (point,) = points
            if (earlier := self.by_point.get(point)) is not None:
                if earlier.number in self.outcomes:
                    self.strategy.tell(point, self.outcomes[earlier.number])
                else:
                    self.asked[earlier.number] += 1
                continue
            words = [*self.fixed, *point]
            try:
                self.check(words)
            except UserError as error:
                print(f"{' '.join(point)} cannot be trained: {error}", flush=True)
                self.strategy.tell(point, Outcome(self.objectives.failed, "failed"))
                continue
            number, name = len(self.jobs) + 1, job_name(words, self.fixed)
            name = name if len(name) <= LONGEST_NAME else f"{number:05}"  # two cells of NASNet's
            job = Job(number, words, folder or self.sweep / name)
            self.jobs.append(job)
            self.by_point[point] = job
            self.asked[job.number] = 1
            return job
        return None

    def _ended(self, job: Job) -> None:
        state: State = "finished" if is_done(job) else "pruned" if job.number in self.pruned else "failed"
        super()._ended(job)
        self._tell(job, state)
        append(self.sweep, (job.number, state, self.seen.get(job.number)))
        if len(self.outcomes) == FIRST_FAILURES and {each.state for each in self.outcomes.values()} == {"failed"}:
            save_history(self.sweep, [])  # the same command begins anew
            raise UserError(f"The first {FIRST_FAILURES} jobs all failed: {job.folder}/train.log, or above, says why.")

    def _tell(self, job: Job, state: State, epochs: int | None = None) -> None:
        """Tell the strategy what became of a job, once for each time that it asked for it.

        Args:
            epochs: how many the strategy knew then; a pruned job that was taken up has more now.
        """
        values = self.objectives.failed
        self._report(job, epochs)
        if state == "finished":
            if not is_done(job):
                again = f"Its words in {HISTORY} make them again, without -m, with run=SWEEP/{job.folder.name}."
                raise UserError(f"{job.folder} has lost its results, on which later jobs depend. {again}")
            values = self.objectives.values(load_results(job.folder))
        elif state == "pruned":
            values = (self.last.get(job.number, values[0]),)
        self.outcomes[job.number] = Outcome(values, state)
        for _ in range(self.asked.pop(job.number)):
            self.strategy.tell(tuple(job.overrides[len(self.fixed) :]), self.outcomes[job.number])

    def _look(self) -> None:
        """End the jobs that the strategy gives up."""
        for job in self.pool.jobs:
            if job.number not in self.pruned and any(self._report(job)):
                self.pruned.add(job.number)
                self.pool.end(job)

    def _report(self, job: Job, epochs: int | None = None) -> list[bool]:
        """Report the epochs of a job that are new; for each, whether the job is given up."""
        if not isinstance(self.strategy, Prunes):
            return []
        rows = validations(job.folder / "metrics.csv", self.objectives.names[0])[:epochs]
        new, self.seen[job.number] = rows[self.seen[job.number] :], max(len(rows), self.seen[job.number])
        if rows:
            self.last[job.number] = rows[-1][1]
        point = tuple(job.overrides[len(self.fixed) :])
        return [self.strategy.report(point, epoch, value) for epoch, value in new]


def stays_in_use(job: Job) -> bool:
    """Whether another process runs a job; one whose sweep was killed is given time to save its step and to end."""
    until = time.monotonic() + SAVING_S
    while is_in_use(job.folder):
        if time.monotonic() > until:
            return True
        time.sleep(0.2)
    return False


def was_stopped(status: int) -> bool:
    """Whether a signal ended a process, or another rank of its run: at once, or after it had saved its step."""
    return status < 0 or status > 128


def validations(path: Path, name: str) -> list[tuple[int, float]]:
    """The epochs of a metrics.csv, and a metric of each."""
    try:
        text = path.read_text()
    except OSError:
        return []
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # without a row that is being written
    return [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
