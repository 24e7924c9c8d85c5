"""The table at the end of a sweep: its jobs by validation accuracy, and those that failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from running.directory import is_in_use, load_results
from sweeps.jobs import Job, is_done, load_jobs


def show_ranking(sweep: Path, runs: Path) -> bool:
    """Print the table of all jobs of a sweep, best first, and what is missing; whether nothing is."""
    jobs = load_jobs(sweep)
    done = [(job, load_results(job.folder)) for job in jobs if is_done(job)]
    missing = [job for job in jobs if not is_done(job)]
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print()
    console.print(ranking(sorted(done, key=lambda entry: -_top1(entry[1]))))
    for job in missing:
        how = "still running" if is_in_use(job.folder) else "failed"
        line = f"{how}: {job.number} {job.folder.name}, see {job.folder}/train.log"
        console.print(line, style="red", soft_wrap=True, highlight=False)
    name = sweep.relative_to(runs) if sweep.is_relative_to(runs) else sweep
    console.print(f"The same command with run={name} runs what is missing.", soft_wrap=True, highlight=False)
    return not missing


def _top1(results: dict[str, Any]) -> float:
    """By validation; without one, last."""
    return results.get("val_top1", -1.0)


def ranking(ranked: Sequence[tuple[Job, dict[str, Any]]]) -> Table:
    table = Table("", "val top-1", "test top-1", "test loss", "seconds", "no.", "job", box=None, padding=(0, 2, 0, 0))
    for place, (job, results) in enumerate(ranked, start=1):
        numbers = (f"{results[n]:.4f}" if n in results else "-" for n in ("val_top1", "test_top1", "test_loss"))
        seconds, name = f"{results['seconds']:.0f}", Text(job.folder.name, overflow="fold")
        table.add_row(str(place), *numbers, seconds, str(job.number), name)
    return table
