"""What lineage prepare shows: a progress bar, and the result."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.text import Text

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.packing import writing
from lineage.datamodules.packing.inspection import encoded_splits, find_unreadable
from lineage.datamodules.packing.storing import Settings
from lineage.files import Lock
from lineage.reporting.progress_bar import bar_columns
from lineage.reporting.screen import show_plan


def check(data: ImageDataModule, console: Console) -> int:
    """Read every image and show what was found; the exit status, 1 if any cannot be read."""
    splits, start = encoded_splits(data), time.monotonic()
    with _progress(console, "checked", data) as advance:
        faults = find_unreadable(splits, advance)
    for fault in faults:
        console.print(Text(f"{fault.name}: {fault.reason}", style="red"), soft_wrap=True)
    counts = {split: len(images) for split, images in splits.items()}
    rows = {
        "images": _counts(counts),
        "unreadable": f"{len(faults):,}",
        "time": _speed(sum(counts.values()), time.monotonic() - start),
    }
    show_plan(console, rows, data.notes)
    return 1 if faults else 0


def pack(data: ImageDataModule, cfg: DictConfig, console: Console) -> None:
    """Pack into cfg.out and show the result."""
    out, settings = Path(str(cfg.out)), Settings(cfg.max_size, cfg.quality, cfg.images_per_shard, cfg.seed)
    lock, start = Lock(out), time.monotonic()
    lock.acquire()
    try:
        with _progress(console, "packed", data) as advance:
            report = writing.pack(data, out, settings, advance)
    except KeyboardInterrupt:
        console.print("Stopped. The finished shards stay, and the same command continues.")
        raise
    finally:
        lock.release()
    if report is None:
        console.print(Text(f"{out} is packed already."), soft_wrap=True)
        return
    rows = {
        "images": _counts(report.images),
        "bytes": f"{report.before:,} of files, {report.after:,} packed",
        "time": _speed(sum(report.images.values()) - report.kept, time.monotonic() - start),
        "read by": f"datamodule=packed datamodule.root={out}",
    }
    if report.kept:
        rows["kept"] = f"{report.kept:,} images in shards that were finished before"
    if report.skipped:
        rows["left out"] = f"{len(report.skipped):,} images that cannot be read: {out / 'skipped.txt'}"
    show_plan(console, rows, data.notes)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _speed(count: int, seconds: float) -> str:
    return f"{seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} images/s"


@contextmanager
def _progress(console: Console, verb: str, data: ImageDataModule) -> Iterator[writing.Advance]:
    """A bar over all images, on a terminal."""
    columns = (*bar_columns(verb), TextColumn("left"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(map(len, encoded_splits(data).values())))
        yield lambda count: progress.advance(task, count)
