"""The launcher of sweeps: each job is a process of its own, so nothing leaks from one to the next, and DDP works."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

PROCESSES = {"_target_": "hydra_plugins.lineage.launcher.Processes"}
ConfigStore.instance().store(group="hydra/launcher", name="processes", node=PROCESSES)


class Processes(Launcher):
    """Runs the jobs, which the sweeper (sweeper.py) has checked, by lineage/sweeps/processes.py."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from lineage.config.checks import check_sweeper

        check_sweeper(config.hydra)
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from lineage.sweeps.jobs import load_jobs, make_jobs
        from lineage.sweeps.processes import run_jobs

        sweep, runs = Path(str(self.config.hydra.sweep.dir)), Path(str(self.config.runs))
        total = len(load_jobs(sweep)) or len(job_overrides)
        jobs = make_jobs(sweep, job_overrides, initial_job_idx)
        sources = self.config.hydra.runtime.config_sources
        own = [source.path for source in sources if source.provider == "command-line"]
        values = run_jobs(jobs, runs, total, *own)
        return [
            JobReturn(overrides=job.overrides, _return_value=value, status=JobStatus.COMPLETED)
            for job, value in zip(jobs, values, strict=True)
        ]
