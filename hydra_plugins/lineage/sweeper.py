"""The sweeper of grids: Hydra's BasicSweeper that also checks every job before the first is launched, and ranks them at
the end, with any launcher (hydra/launcher=processes, joblib, submitit_slurm, ...)."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lineage.errors import Stopped, UserError

GRID = {"_target_": "hydra_plugins.lineage.sweeper.Grid", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GRID)


class Grid(BasicSweeper):
    """All combinations of the values that the command lists."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if not any(override.split("=")[0] == "run" for override in config.hydra.overrides.task):
            config.run = time.strftime("%Y-%m-%d/%H-%M-%S") + "-sweep"
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        from lineage.config.checks import is_under_torchrun
        from lineage.files import Lock
        from lineage.running.directory import is_name
        from lineage.sweeps.jobs import check_distinct, check_each, make_jobs, save_jobs
        from lineage.sweeps.ranking import show_ranking

        assert self.config is not None and self.hydra_context is not None
        config, loader = self.config, self.hydra_context.config_loader
        if config.hydra.job.config_name != "train":
            raise UserError(f"{config.hydra.job.config_name} has no sweeps: -m is for train.")
        if is_under_torchrun():
            raise UserError("A sweep starts its jobs itself, each on trainer.devices: run it without torchrun.")
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*self._parse_config(), *arguments])
        _check_grid(parsed, config.hydra)
        if not is_name(str(config.run)):
            raise UserError(f"run={config.run}: it is a name below {config.runs}/; another place is runs=FOLDER.")
        points = [list(job) for batch in self.split_arguments(parsed, None) for job in batch]
        check_each(points, job_check(loader, config))

        sweep, runs = Path(str(config.hydra.sweep.dir)), Path(str(config.runs))
        if (sweep / "config.yaml").exists():
            raise UserError(f"{sweep} is a run: continue it without -m, or choose another name for a sweep.")
        check_distinct(make_jobs(sweep, points))
        lock = Lock(sweep)
        lock.acquire()
        try:
            save_jobs(sweep, make_jobs(sweep, points))
            return super().sweep(arguments)
        finally:
            lock.release()
            left = sys.exc_info()[0]
            if not show_ranking(sweep, runs, left in (Stopped, KeyboardInterrupt)) and left is None:
                sys.exit(1)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing to do: it would compose every job once more."""


def job_check(loader: Any, config: DictConfig) -> Callable[[Sequence[str]], None]:
    """A function of a job's words that raises UserError if the job cannot work.

    Args:
        loader: Hydra's loader of configs.
        config: that of the sweep's command.
    """
    from lineage.config.checks import checks
    from lineage.config.messages import user_sentence
    from lineage.sweeps.configs import JobConfigs

    configs = JobConfigs(loader, config)

    def check(words: Sequence[str]) -> None:
        try:
            checks(*configs.of(words))
        except Exception as error:
            sentence = user_sentence(error, "train", words)
            if sentence is None:
                raise
            raise UserError(sentence) from error

    return check


def _check_grid(overrides: list[Override], hydra: DictConfig) -> None:
    """Refuse several values of `run` and `runs`, and settings that the launcher cannot have. Raises UserError."""
    for override in overrides:
        if override.is_sweep_override() and override.key_or_group in ("run", "runs"):
            raise UserError(f"{override.key_or_group}: a sweep has one; its jobs' directories are named by overrides.")
    for key in ("backend", "prefer"):
        if any(override.startswith(f"hydra.launcher.{key}=") for override in hydra.overrides.hydra):
            raise UserError(f"hydra.launcher.{key}: joblib's launcher always uses processes of loky; leave it out.")
    if hydra.launcher.get("n_jobs") == 0:
        raise UserError("hydra.launcher.n_jobs=0: it is how many jobs run at once; -1: one a core.")
    if hydra.sweeper.max_batch_size is not None and hydra.sweeper.max_batch_size < 1:
        raise UserError(f"hydra.sweeper.max_batch_size={hydra.sweeper.max_batch_size}: it is at least 1, or null.")
