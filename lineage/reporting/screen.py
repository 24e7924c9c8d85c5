"""The tables on the screen: what will run, and the results."""

import shlex
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lineage.analysis.record import Record, summary
from lineage.text import CAREFUL, DANGER


def console(quiet: bool = False) -> Console:
    """Standard output: as wide as the terminal, or 120 columns if it is a file."""
    return Console(quiet=quiet, width=None if sys.stdout.isatty() else 120, highlight=False)


def show_plan(console: Console, rows: Mapping[str, str | Path], notes: Sequence[str]) -> None:
    """Print a table of what will run, and the notes below it."""
    show_rows(console, rows)
    show_notes(console, notes)
    console.print()


def show_notes(console: Console, notes: Iterable[str]) -> None:
    """Print notes, dim, yellow or red as they act on the result."""
    for note in notes:
        style = "bold red" if note.startswith(DANGER) else "yellow" if note.startswith(CAREFUL) else "dim"
        for line in _wrapped(note if style != "dim" else f"note: {note}", console.width):
            console.print(Text(line, style), soft_wrap=True)


def show_results(
    console: Console, results: Mapping[str, Any], record: Record, folder: Path, runs: str, dashboard: str | None
) -> None:
    found = summary(record, most=3)
    rows: dict[str, str | Path] = {"test top-1": found["test top-1"], "worst classes": found["worst classes"]}
    rows["test top-5, loss"] = f"{results['test_top5']:.4f}, {results['test_loss']:.4f}"
    if best := next((name for name in results if name.startswith("best_") and name != "best_epoch"), None):
        value = f"{best.removeprefix('best_')} {results[best]:.4f}"
        rows = {"best": f"epoch {results['best_epoch']}, {value}", **rows}
    minutes, seconds = divmod(round(results["seconds"]), 60)
    rows["training"] = f"{minutes} min {seconds} s, {results['images_per_second']:,.0f} images/s"
    if results["skipped"]:
        rows["left out"] = f"{len(results['skipped']):,} images that cannot be read: {folder}/results.json lists them"
    rows["run"] = folder
    if dashboard:
        rows["curves"] = dashboard
    words = [f"run={folder.relative_to(runs)}", *([f"runs={runs}"] if runs != "runs" else ())]
    rows["report"] = shlex.join(["lineage", "report", *words])
    if results["datamodule"] == "imagefolder":
        rows["predict"] = shlex.join(["lineage", "predict", *words, "images=FILE-OR-FOLDER"])
    console.print()
    show_rows(console, rows)


def show_rows(console: Console, rows: Mapping[str, str | Path]) -> None:
    """Print names and values, which are broken between words alone: paths stay whole."""
    indent = max(map(len, rows)) + 2
    for name, value in rows.items():
        lines = _wrapped(value, console.width - indent) if isinstance(value, str) else [str(value)]
        for place, line in enumerate(lines):
            head = ("" if place else name).ljust(indent)
            console.print(Text.assemble((head, "bold"), line), soft_wrap=True)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, where no word is longer."""
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


def show_table(console: Console, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns, numbers to the right. The last one, of names, is never broken."""
    rows = [head, *rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for place, row in enumerate(rows):
        cells = [" " * (width - cell_len(cell)) + cell for cell, width in zip(row[:-1], widths, strict=False)]
        console.print(Text("  ".join([*cells, row[-1]]), style="" if place else "bold"), soft_wrap=True)
