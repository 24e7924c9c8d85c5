"""metrics.csv: a row an epoch and a row every few steps, appended. Lightning's CSVLogger deletes it on reopening."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from running.run_directory import write_whole

COLUMNS = [
    "epoch",
    "step",
    "lr",
    "step_loss",
    "train_loss",
    "train_top1",
    "val_loss",
    "val_top1",
    "val_top5",
    "test_loss",
    "test_top1",
    "test_top5",
    "images_per_second",
    "seconds",
]


class MetricsCSV(Logger):
    """Rows of COLUMNS; a metric that a row does not have is left empty.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        new = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow({"step": step, **metrics})


def keep_until(folder: Path, step: int) -> None:
    """Drop the rows of steps after `step`, from which a run goes on, and a row that a kill cut short."""
    path = folder / "metrics.csv"
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines(keepends=True)
    whole = [row for row in rows if row.endswith("\n") and row.count(",") == len(COLUMNS) - 1]
    kept = [row for row in whole if int(row.split(",")[COLUMNS.index("step")]) <= step]
    write_whole(path, "".join((header, *kept)))
