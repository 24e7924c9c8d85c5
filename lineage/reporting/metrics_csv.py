"""metrics.csv: a row per epoch and one every few steps. Lightning's CSVLogger would delete it as a run continues."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lineage.errors import UserError
from lineage.files import cannot_write, write_whole

COLUMNS = (
    "epoch step lr step_loss train_loss train_top1 val_loss val_top1 val_top5 test_loss test_top1 test_top5 "
    "images_per_second seconds"
).split()


class MetricsCSV(Logger):
    """Appends a row per call. It has COLUMNS, then a column for each further metric in the order of appearance.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.columns: list[str] = []

    name, version = "csv", ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row. Raises UserError: the file cannot be written."""
        row = {"step": step, **metrics}
        if not self.columns:
            self.columns, rows = read(self.path)
            write(self.path, self.columns, rows)
        if not row.keys() <= set(self.columns):
            self.columns += [name for name in row if name not in self.columns]
            write(self.path, self.columns, read(self.path)[1])
        try:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self.columns, restval="").writerow(row)
        except OSError as error:
            raise UserError(cannot_write(self.path, error)) from error


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and complete rows; no rows if the file is missing, empty or has no column `step`."""
    try:
        lines = path.read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        lines = []
    columns = next(csv.reader(lines[:1]), [])
    if "step" not in columns:
        return list(COLUMNS), []
    whole = [row for line, row in zip(lines[1:], csv.reader(lines[1:]), strict=False) if line.endswith("\n")]
    return columns, [dict(zip(columns, row, strict=True)) for row in whole if len(row) == len(columns)]


def write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def keep_until(path: Path, step: int) -> None:
    """Drop the rows after `step`, from which the run continues, the rows of a test, and an incomplete last row."""
    if not path.exists():
        return
    columns, rows = read(path)
    kept = [row for row in rows if row["step"].isdigit() and _is_before(row, step) and not row.get("test_loss")]
    write(path, columns, kept)


def _is_before(row: Mapping[str, str], step: int) -> bool:
    """Whether a row was written before `step` was saved. LearningRateMonitor writes its row of `step` afterwards."""
    from_monitor = not row.get("epoch") and not row.get("step_loss")
    return int(row["step"]) < step or (int(row["step"]) == step and not from_monitor)
