"""TensorBoard files whose curves do not run backwards where a run was killed and went on."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's, which goes on in the folder, beside what was written after the step that was saved last."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """config.yaml has them."""

    def keep_until(self, step: int) -> None:
        """Let TensorBoard hide what is there of later steps. Before anything is logged."""
        self._kwargs["purge_step"] = step + 1
        _ = self.experiment  # opened here: a file that is opened later hides nothing
        del self._kwargs["purge_step"]
