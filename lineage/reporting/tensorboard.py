"""TensorBoard's files. The curves of a run that was killed and continued have no duplicate steps."""

from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, which continues in the folder of the run."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml has them."""

    def keep_until(self, step: int) -> None:
        """Let TensorBoard hide earlier records of steps after `step`. To be called before anything is logged."""
        self._kwargs["purge_step"] = step + 1
        _ = self.experiment  # opens the file, which states the step to hide from
        del self._kwargs["purge_step"]
