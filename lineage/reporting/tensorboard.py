"""TensorBoard's files. The curves of a run that was killed and continued have no duplicate steps."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, which continues in the folder of the run."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml has them."""

    def keep_until(self, step: int) -> None:
        """Let TensorBoard hide earlier records of steps after `step`. To be called before anything is logged."""
        self._order_files(int(time.time()))
        self._kwargs["purge_step"] = step + 1
        _ = self.experiment  # opens the file, which states the step to hide from
        del self._kwargs["purge_step"]

    def _order_files(self, now: int) -> None:
        """TensorBoard reads files in the order of the seconds in their names: where the clock was put back, the earlier
        files get names that come before the next one's."""
        files = sorted(Path(self.log_dir).glob("events.out.tfevents.*"), reverse=True)
        if files and int(files[0].name.split(".")[3]) >= now:
            for age, file in enumerate(files, start=1):
                *kind, _, rest = file.name.split(".", 4)
                file.rename(file.with_name(".".join([*kind, f"{now - age:010d}", rest])))
