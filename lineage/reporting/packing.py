"""What lineage prepare shows: a bar, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.packing.inspection import encoded_splits, inspect
from lineage.datamodules.packing.storing import Settings
from lineage.datamodules.packing.writing import Advance, Report
from lineage.datamodules.packing.writing import pack as pack_into
from lineage.files import Lock
from lineage.reporting.screen import show_plan


def check(data: ImageDataModule, console: Console) -> int:
    """Read every image and tell what was found; the exit status, 1 if any cannot be read."""
    splits, start = encoded_splits(data), time.monotonic()
    with _bar(console, "checked", sum(map(len, splits.values()))) as advance:
        found = inspect(splits, advance)
    seconds = time.monotonic() - start
    for fault in found.faults:
        console.print(Text(f"{fault.name}: {fault.reason}", style="red"), soft_wrap=True)
    rows = {
        "images": _counts(found.images),
        "unreadable": f"{len(found.faults):,}",
        "odd": ", ".join(f"{count:,} {word}" for word, count in sorted(found.odd.items())) or "none",
        "time": _speed(sum(found.images.values()), seconds),
    }
    show_plan(console, rows, [*data.notes, *found.notes])
    return 1 if found.faults else 0


def pack(data: ImageDataModule, cfg: DictConfig, console: Console) -> None:
    """Pack into cfg.out and tell what came of it."""
    out, settings = Path(str(cfg.out)), Settings(cfg.max_size, cfg.quality, cfg.shard_size, cfg.seed)
    lock, start = Lock(out), time.monotonic()
    lock.acquire()
    try:
        with _bar(console, "packed", sum(map(len, encoded_splits(data).values()))) as advance:
            report = pack_into(data, out, settings, advance)
    except KeyboardInterrupt:
        console.print("Stopped. The shards that are finished stay, and the same command goes on.")
        raise
    finally:
        lock.release()
    if report is None:
        console.print(Text(f"{out} is packed already."), soft_wrap=True)
        return
    _show(report, out, time.monotonic() - start, data.notes, console)


def _show(report: Report, out: Path, seconds: float, notes: list[str], console: Console) -> None:
    count = sum(report.images.values())
    rows = {
        "images": _counts(report.images),
        "bytes": f"{report.before:,} of files, {report.after:,} packed",
        "time": _speed(count - report.kept, seconds),
        "read by": f"datamodule=packed datamodule.root={out}",
    }
    if report.kept:
        rows["kept"] = f"{report.kept:,} images in shards that were finished before"
    if report.skipped:
        rows["left out"] = f"{len(report.skipped):,} images that cannot be read: {out / 'skipped.txt'}"
    show_plan(console, rows, notes)


def _counts(images: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in images.items())


def _speed(count: int, seconds: float) -> str:
    return f"{seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} images/s"


@contextmanager
def _bar(console: Console, verb: str, total: int) -> Iterator[Advance]:
    """A line, on a terminal."""
    columns = (
        TextColumn(verb),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
