"""The launcher of sweeps, hydra/launcher=processes."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lineage.errors import UserError


class Processes(Launcher):
    """Stands for lineage/sweeps/pool.py, with which the sweeper (sweeper.py) runs jobs.

    Args:
        n_jobs: how many run at once.
    """

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raise UserError with Hydra's own sweeper, which exits with 0 when jobs fail."""
        if str(config.hydra.sweeper._target_).endswith("BasicSweeper"):
            raise UserError("hydra/sweeper=basic: leave it out; the default, grid, checks all jobs and ranks them.")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise NotImplementedError("The sweeper starts these jobs itself.")
