"""metrics.csv, a row per epoch, and steps.csv, one every few steps. Lightning's CSVLogger would delete them as a run
continues."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lineage.errors import UserError
from lineage.files import cannot_write, write_csv

EPOCHS, STEPS = "metrics.csv", "steps.csv"
COLUMNS = {
    EPOCHS: (
        "epoch step lr train_loss train_top1 val_loss val_top1 val_top5 test_loss test_top1 test_top5 "
        "images_per_second seconds"
    ).split(),
    STEPS: ["step", "lr", "step_loss"],
}


class MetricsCSV(Logger):
    """Appends a row per call; the metrics of the test complete the row of the last epoch.

    A file has its COLUMNS, then one for each further metric in the order of appearance.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.columns: dict[str, list[str]] = {}

    name, version = "csv", ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row. Raises UserError: the file cannot be written."""
        is_test = "test_loss" in metrics
        name = EPOCHS if is_test or "seconds" in metrics else STEPS
        path, row = self.folder / name, {"step": step, **metrics}
        columns = self.columns.setdefault(name, [])
        if is_test or not columns or not row.keys() <= set(columns):
            columns[:], rows = read(path)
            columns += [metric for metric in row if metric not in columns]
            earlier = rows.pop() if is_test and rows else {}
            return write_csv(path, columns, [*rows, {**earlier, **row}])
        try:
            with open(path, "a", newline="") as file:
                csv.DictWriter(file, columns, restval="", lineterminator="\n").writerow(row)
        except OSError as error:
            raise UserError(cannot_write(path, error)) from error


def read(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and complete rows; no rows if the file is missing, empty or has no column `step`."""
    try:
        lines = path.read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        lines = []
    columns = next(csv.reader(lines[:1]), [])
    if "step" not in columns:
        return list(COLUMNS[path.name]), []
    whole = [row for line, row in zip(lines[1:], csv.reader(lines[1:]), strict=False) if line.endswith("\n")]
    return columns, [dict(zip(columns, row, strict=True)) for row in whole if len(row) == len(columns)]


def keep_until(folder: Path, step: int) -> None:
    """Drop the rows after `step`, from which the run continues, what a test added, and an incomplete last row."""
    for path in filter(Path.exists, (folder / name for name in COLUMNS)):
        columns, rows = read(path)
        kept = [row for row in rows if row["step"].isdigit() and _is_before(row, step)]
        tested = [column for column in columns if column.startswith("test_")]
        write_csv(path, columns, [row | dict.fromkeys(tested, "") for row in kept])


def _is_before(row: Mapping[str, str], step: int) -> bool:
    """Whether a row was written before `step` was saved. LearningRateMonitor writes its row of `step` afterwards."""
    from_monitor = not row.get("epoch") and not row.get("step_loss")
    return int(row["step"]) < step or (int(row["step"]) == step and not from_monitor)
