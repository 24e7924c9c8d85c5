"""Sweeps: the jobs of a grid, each its own process and directory, and the table that ranks them. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from running.run_directory import is_finished, load_results

# Where a job runs and what it is called do not make it another job.
NOT_IN_NAME = ("run", "trainer", "logger", "hydra")


@dataclass(frozen=True)
class Job:
    """One point of the grid: the words of its command and its directory, whose name is a function of them."""

    words: list[str]
    folder: Path

    @staticmethod
    def of(sweep: Path, words: list[str]) -> Job:
        named = sorted(word for word in words if word.split("=")[0].split(".")[0].lstrip("+") not in NOT_IN_NAME)
        name = ",".join(named).replace("/", "-") or "default"
        if len(name) > 150:
            name = name[:130] + "-" + hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
        kept = [word for word in words if word.split("=")[0] != "run"]
        return Job(kept, sweep / name)

    @property
    def command(self) -> list[str]:
        name = self.folder.relative_to("runs") if self.folder.is_relative_to("runs") else self.folder
        return [sys.executable, sys.argv[0], *self.words, f"run='{name}'"]


def run_jobs(jobs: Sequence[Job]) -> list[float | None]:
    """Run the jobs that are not finished, one after the other; the validation accuracy of each, None if it failed."""
    values: list[float | None] = []
    for number, job in enumerate(jobs, start=1):
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "job.json").write_text(json.dumps(job.words))
        done = is_finished(job.folder)
        print(f"\n[{number}/{len(jobs)}] {job.folder.name}{': finished before' if done else ''}", flush=True)
        if not done:
            subprocess.run(job.command, check=False)
        values.append(load_results(job.folder)["val_top1"] if is_finished(job.folder) else None)
    return values


def close_sweep(sweep: Path) -> None:
    """Print the table of all jobs of a sweep, best first, and the failed; exit with 1 if there are any."""
    found = [(path.parent, json.loads(path.read_text())) for path in sorted(sweep.glob("*/job.json"))]
    done = {folder: load_results(folder) for folder, _ in found if is_finished(folder)}
    failed = [folder for folder, _ in found if folder not in done]
    ranked = sorted(done.items(), key=lambda item: -item[1]["val_top1"])
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print()
    console.print(ranking(ranked))
    for folder in failed:
        console.print(f"failed: {folder.name}, see {folder}/train.log", style="red", soft_wrap=True, highlight=False)
    console.print(f"The same command with run={sweep.relative_to('runs') if sweep.is_relative_to('runs') else sweep} "
                  "runs what is missing.", soft_wrap=True, highlight=False)  # fmt: skip
    if failed:
        sys.exit(1)


def ranking(ranked: Sequence[tuple[Path, dict[str, Any]]]) -> Table:
    table = Table("", "val top-1", "test top-1", "test loss", "seconds", "job", box=None, padding=(0, 2, 0, 0))
    for place, (folder, results) in enumerate(ranked, start=1):
        numbers = (f"{results[name]:.4f}" for name in ("val_top1", "test_top1", "test_loss"))
        table.add_row(str(place), *numbers, f"{results['seconds']:.0f}", folder.name)
    return table
