"""What a run's folder tells a report: results, the course of training, and its evaluations. Files may come from
elsewhere: what has another type than ours is left out."""

import csv
import io
import re
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from lineage.analysis.record import Record
from lineage.errors import UserError
from lineage.files import read_json, read_text, reason

NUMBERS = (
    "parameters macs resolution epochs steps seconds images_per_second seed val_top1 test_top1 test_top5 test_loss"
).split()
TEXTS = "arch datamodule recipe test_weights device precision".split()
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
LIMIT = 2**28  # bytes of a file that is read


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, read when they are first asked for. `name` is how the user calls it."""

    name: str
    folder: Path

    @cached_property
    def results(self) -> dict[str, Any]:
        """Of results.json, with all keys; None if the run is not finished. Raises UserError: it is damaged."""
        try:
            found = dict(read_json(self.folder / "results.json"))
        except FileNotFoundError:
            found = {}
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self.folder}/results.json is damaged ({reason(error)}).") from error

        numbers = {key: n for key in NUMBERS if isinstance(n := found.get(key), int | float) and isfinite(n)}
        texts = {key: found[key] for key in TEXTS if isinstance(found.get(key), str)}
        lists = {key: list(map(str, found.get(key) or ())) for key in ("overrides", "notes", "skipped")}
        tables = {key: found[key] if isinstance(found.get(key), dict) else {} for key in ("versions", "git")}
        return {**dict.fromkeys(NUMBERS + TEXTS), **numbers, **texts, **lists, **tables}

    @cached_property
    def settings(self) -> dict[str, str]:
        """What the run's command chose."""
        chosen = {key: self.results[key] for key in ("arch", "datamodule", "recipe") if self.results[key]}
        return {**chosen, **dict(word.lstrip("+").split("=", 1) for word in self.results["overrides"] if "=" in word)}

    @cached_property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of metrics.csv at the end of an epoch."""
        try:
            rows = list(csv.DictReader(io.StringIO(read_text(self.folder / "metrics.csv", LIMIT))))
        except (OSError, ValueError, csv.Error):
            return []
        found = [{key: float(text) for key, text in row.items() if NUMBER.fullmatch(str(text))} for row in rows]
        return [row for row in found if row.get("epoch", 0) > 0 and "lr" in row]

    def curve(self, metric: str) -> dict[float, list[float]]:
        """By epoch."""
        return {row["epoch"]: [row[metric]] for row in self.epochs if metric in row}

    @cached_property
    def stops(self) -> list[float]:
        """The epochs at which it was continued."""
        per_epoch = next((row["step"] / row["epoch"] for row in self.epochs if row.get("step")), None)
        try:
            steps = re.findall(r"  continues: at step ([\d,]+)", read_text(self.folder / "train.log", LIMIT))
        except (OSError, ValueError):
            return []
        return [int(step.replace(",", "")) / per_epoch for step in steps] if per_epoch else []

    @cached_property
    def records(self) -> list[Record]:
        """The evaluations, first the test of the weights that the run chose. Raises UserError: one is damaged."""
        own = f"test-{self.results['test_weights'] or 'last'}"
        return sorted(Record.read_all(self.folder), key=lambda one: one.name != own)
