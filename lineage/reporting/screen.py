"""The tables on the screen: what will run, and the results."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def console(quiet: bool = False) -> Console:
    """Standard output: as wide as the terminal, or 120 columns if it is a file."""
    return Console(quiet=quiet, width=None if sys.stdout.isatty() else 120, highlight=False)


def show_plan(console: Console, rows: Mapping[str, str], notes: Sequence[str]) -> None:
    """Print a table of what will run, and the notes below it."""
    console.print(_table(rows))
    for note in notes:
        console.print(Text("note: " + note, style="yellow"))
    console.print()


def show_results(console: Console, results: Mapping[str, Any], run: str, dashboard: str | None) -> None:
    rows = {f"test {name}": f"{results[f'test_{name}']:.4f}" for name in ("top1", "top5", "loss")}
    minutes, seconds = divmod(round(results["seconds"]), 60)
    rows["training"] = f"{minutes} min {seconds} s, {results['images_per_second']:,.0f} images/s"
    if results["skipped"]:
        rows["left out"] = f"{len(results['skipped']):,} images that cannot be read: {run}/results.json lists them"
    rows["run"] = run
    if dashboard:
        rows["curves"] = dashboard
    console.print()
    console.print(_table(rows))


def _table(rows: Mapping[str, str]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table
