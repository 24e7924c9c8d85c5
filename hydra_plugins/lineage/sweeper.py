"""The sweepers, hydra/sweeper=grid, random, optuna, evolution, controller, scaling, with any launcher.

Every job is checked before it starts, is a process of its own, and is ranked at the end. A grid knows all its jobs at
first; a search asks its strategy (lineage/sweeps/strategies) for the next ones.
"""

import importlib
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.lineage.launcher import Processes
from lineage.constraints import problem
from lineage.errors import Stopped, UserError
from lineage.files import Lock, reason
from lineage.sweeps import driver, jobs
from lineage.sweeps.configs import JobConfigs
from lineage.sweeps.launched import Launched, task, wait_for_queue
from lineage.sweeps.objectives import Objectives
from lineage.sweeps.pool import Pool, python_path
from lineage.sweeps.space import CELLS, Space

# The first of train.yaml's defaults. Hydra obeys the last override of a group, so an experiment's comes before this.
ConfigStore.instance().store(name="sweeper", node={"defaults": [{"override /hydra/sweeper": "grid"}]})


class Sweep(Sweeper):
    """What a grid and a search have in common.

    Args:
        params: overrides by key, beside those of the command.
    """

    config: Any
    objectives: Any = None
    plan: Any  # (sweep, overrides): check what the command asks for; nothing is written
    drive: Any  # (sweep, runs): run the jobs

    def __init__(self, params: dict[str, str] | None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if not any(override.split("=")[0] == "run" for override in config.hydra.overrides.task):
            config.run = time.strftime("%Y-%m-%d/%H-%M-%S") + "-sweep"
        self.config, self.loader = config, hydra_context.config_loader
        launcher = Plugins.instance().instantiate_launcher
        self.launcher: Any = launcher(hydra_context=hydra_context, task_function=task, config=config)

    def sweep(self, arguments: list[str]) -> None:
        from lineage.sweeps.ranking import show_ranking

        config = self.config
        if config.hydra.job.config_name != "train":
            raise UserError(f"{config.hydra.job.config_name} has no sweeps: -m is for train.")
        given = {word.split("=")[0] for word in arguments}
        runs = Path(str(config.runs))
        words = [f"{key}={_values(runs, key, str(value))}" for key, value in self.params.items() if key not in given]
        words += [word for word in arguments if word.split("=")[0] not in ("finals_of", "k")]  # params read them
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides(words)
        _check(overrides, config.hydra)
        self.configs = JobConfigs(self.loader, config)
        sweep = Path(str(config.hydra.sweep.dir))
        if (sweep / "config.yaml").exists():
            raise UserError(f"{sweep} is a run: continue it without -m, or choose another name for a sweep.")
        self.plan(sweep, overrides)
        lock = Lock(sweep)
        lock.acquire()
        try:
            self.drive(sweep, runs)
        finally:
            lock.release()
            left = sys.exc_info()[0]
            stopped = left in (Stopped, KeyboardInterrupt, SystemExit)
            if not show_ranking(sweep, runs, self.objectives, stopped) and left is None:
                sys.exit(1)

    def check(self, words: Sequence[str]) -> None:
        """Raise UserError if a job of these words cannot work."""
        from lineage.config.checks import checks
        from lineage.config.messages import user_sentence

        try:
            job, hydra = self.configs.of(words)
            checks(job, hydra)
            if self.objectives and job.datamodule.get("val_size") == 0:
                raise UserError("datamodule.val_size=0: validation is the test set, by which no search may choose.")
        except Exception as error:
            sentence = user_sentence(error, "train", words)
            if sentence is None:
                raise
            raise UserError(sentence) from error

    def pool(self, sweep: Path, runs: Path, at_once: int) -> Any:
        """What runs jobs.

        Args:
            at_once: how many a launcher of Hydra's is given together.
        """
        if isinstance(self.launcher, Processes):
            sources = self.config.hydra.runtime.config_sources
            own = [source.path for source in sources if source.provider == "command-line"]
            return Pool(sweep, runs, self.launcher.n_jobs, self.config.trainer.get("devices"), *own)
        os.environ["PYTHONPATH"] = python_path()
        begun = 0

        def launch(jobs: list[list[str]]) -> list[int]:
            nonlocal begun
            begun += len(jobs)
            try:
                found = self.launcher.launch(jobs, begun - len(jobs))
            except Exception as error:  # submitit's, of the first job that was cancelled
                sys.stderr.write(f"{reason(error)}\n")
                wait_for_queue(sweep)
                return [1] * len(jobs)
            for job in found:
                if job.status != JobStatus.COMPLETED:
                    sys.stderr.write(f"{' '.join(job.overrides or ())}: {reason(job._return_value)}\n")
            return [job._return_value if job.status == JobStatus.COMPLETED else 1 for job in found]

        return Launched(launch, sweep, runs, at_once)


class Grid(Sweep):
    """All combinations of the values that the command lists."""

    def plan(self, sweep: Path, overrides: list[Override]) -> None:
        if jobs.is_search(sweep):
            raise UserError(f"{sweep} is a search: give the command that it was started with, or another run=NAME.")
        for each in overrides:
            if each.is_sweep_override() and not each.is_discrete_sweep():
                key = each.get_key_element()
                raise UserError(f"{key}: a grid lists its values; hydra/sweeper=random or optuna draws from intervals.")
        (points,) = BasicSweeper.split_arguments(overrides, None)
        jobs.check_each(points, self.check)
        self.jobs = jobs.make_jobs(sweep, points)
        jobs.check_distinct(self.jobs)

    def drive(self, sweep: Path, runs: Path) -> None:
        jobs.save_history(sweep, self.jobs)
        grid = driver.Driver(sweep, self.pool(sweep, runs, len(self.jobs)), len(self.jobs))
        grid.queue = list(self.jobs)
        grid.run()


class Search(Sweep):
    """A strategy of lineage/sweeps/strategies decides which jobs come next.

    Args:
        strategy: its class.
        maximise, minimise, target_macs: what it is told of a job: lineage/sweeps/objectives.py.
        keys: the strategy's own.
    """

    def __init__(
        self, strategy: str, params: Any, maximise: Any, minimise: Any, target_macs: float | None, **keys: Any
    ) -> None:
        super().__init__(params)
        self.strategy, self.keys = strategy, keys
        self.goals = maximise, minimise, target_macs
        self.costs: dict[tuple[str, ...], tuple[int, int]] = {}

    def plan(self, sweep: Path, overrides: list[Override]) -> None:
        self.objectives = Objectives(*self.goals)
        self.space = Space(overrides)
        for key, *_ in self.space.keys:
            if jobs.is_left_out(key):
                raise UserError(f"{key}: another value does not make another job, so no search chooses it.")
        for fraction in (0, 0.3819, 1):  # the middle one is seldom a whole number, which some keys take
            self.check([*self.space.fixed, *self.space.point(self.space.at(fraction))])
        self.build()
        pruner = self.keys.get("pruner")
        if pruner and not isinstance(self.launcher, Processes):
            raise UserError(f"hydra.sweeper.pruner={pruner} ends jobs that run: hydra/launcher=processes.")
        if pruner and "csv" not in (self.config.get("logger") or ()):
            raise UserError(f"hydra.sweeper.pruner={pruner} reads metrics.csv: logger=default, csv or wandb.")

    def build(self, **more: Any) -> Any:
        """The strategy; it is given what its constructor names. Raises UserError: it does not take a value."""
        from lineage.config.signatures import arguments

        signature = arguments(self.strategy)
        assert signature is not None
        for name, value in self.keys.items():
            if name not in signature.arguments:
                raise UserError(f"hydra.sweeper.{name}: {self.strategy} does not take it.")
            if wrong := problem(signature.arguments[name].annotation, value):
                raise UserError(f"hydra.sweeper.{name}={value}: {wrong}")
        goals = {"directions": self.objectives.directions, "names": self.objectives.names}
        offered = {**goals, "cost": self.cost, **more}
        wanted = {name: value for name, value in offered.items() if name in signature.arguments}
        module, _, name = self.strategy.rpartition(".")
        made = getattr(importlib.import_module(module), name)  # hydra's get_class would wrap a UserError
        return made(self.space, **self.keys, **wanted)

    def cost(self, words: Sequence[str]) -> tuple[int, int]:
        """The parameters and multiply-adds of a job's network. Raises UserError: they depend on the data's files."""
        from lineage import assemble

        if (words := tuple(words)) not in self.costs:
            job, _ = self.configs.of(words)
            for key in ("num_classes", "channels"):
                if job.datamodule[key] is None:
                    raise UserError(f"datamodule.{key}=null: networks are counted before the data is read; state it.")
            self.costs[words] = assemble.cost(job)
        return self.costs[words]

    def drive(self, sweep: Path, runs: Path) -> None:
        strategy = self.build(journal=sweep / "optuna-journal.log")
        if hasattr(strategy, "show"):
            strategy.show(sweep)
        launcher = self.config.hydra.launcher
        pool = self.pool(sweep, runs, launcher.get("array_parallelism") or max(launcher.get("n_jobs", 1), 1))
        driver.Search(sweep, pool, strategy.trials, strategy, self.space.fixed, self.check, self.objectives).run()


def _values(runs: Path, key: str, value: str) -> str:
    """The values of a key as Hydra writes them: best(SWEEP,K) are those of the K best jobs of a sweep."""
    from lineage.sweeps.ranking import best_values

    if found := re.fullmatch(r"best\((.*),(\d+)\)", value):
        if found[1] == "None":
            raise UserError("finals_of=null: it is the search whose best are taken, by its run=NAME.")
        return ",".join(best_values(runs / found[1], key, int(found[2])))
    return f'"{value}"' if CELLS.fullmatch(value) else value


def _check(overrides: list[Override], hydra: DictConfig) -> None:
    """Refuse several values of `run` and `runs`, and settings that the launcher cannot have. Raises UserError."""
    for override in overrides:
        if override.is_sweep_override() and override.key_or_group in ("run", "runs"):
            raise UserError(f"{override.key_or_group}: a sweep has one; its jobs' directories are named by overrides.")
    n_jobs = hydra.launcher.get("n_jobs", 1)
    if not isinstance(n_jobs, int) or n_jobs == 0 or (n_jobs < 0 and "Processes" in str(hydra.launcher._target_)):
        raise UserError(f"hydra.launcher.n_jobs={n_jobs}: it is how many jobs run at once, 1 or more.")
