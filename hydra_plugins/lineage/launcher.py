"""The launcher of sweeps: checks every job first, then runs each as a process of its own.

Hydra finds launchers in packages under `hydra_plugins`; the name is its rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/launcher", name="processes", node={"_target_": "hydra_plugins.lineage.launcher.Processes"}
)


class Processes(Launcher):
    """One process a job: nothing leaks from one to the next, and DDP inside a job works."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from pathlib import Path

        from running.check import check_values
        from running.sweep import Job, run_jobs

        jobs = []
        for words in job_overrides:
            config = self.context.config_loader.load_sweep_config(self.config, list(words))
            check_values(config, list(words))
            jobs.append(Job.of(Path(str(self.config.hydra.sweep.dir)), list(words)))
        values: list[Any] = run_jobs(jobs)
        return [
            JobReturn(overrides=job.words, _return_value=value, status=JobStatus.COMPLETED)
            for job, value in zip(jobs, values, strict=True)
        ]
