"""What the folder of a packing says of itself while it is made (writing.py): what it is of, how far it is.

DIR/packing.json is there from the start to the end, and a record beside every finished shard: train-000000.npz.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from lineage.datamodules.discovery.statistics import nearly_equal
from lineage.datamodules.errors import DataError
from lineage.datamodules.packing.shard_files import is_intact, written_whole
from lineage.datamodules.packing.shards import COLUMNS, shard_name

STARTED = "packing.json"


class Record(NamedTuple):
    """A finished shard.

    columns: its part of the index. end: the place, in the split's order, that the next shard begins at. before: bytes
    of the files that it was made of. skipped: images left out since the shard before, with reasons. stamp: a digest of
    the bytes that each of its files had; "" in older packings.
    """

    columns: dict[str, numpy.ndarray]
    end: int
    before: int
    skipped: list[list[str]]
    stamp: str = ""

    def __len__(self) -> int:
        return len(self.columns["label"])


def claim(out: Path, made: dict[str, Any], sizes: str) -> bool:
    """Whether something is left to do in `out`.

    Args:
        made: what decides every byte of a packing, which keeps the mean and deviation that it began with, if an image
            that could not be read was mended since.
        sizes: a digest of the bytes that the files have of which it is made.

    Raises:
        DataError: the folder holds another packing, or something else; files have changed since it was finished.
    """
    finished = (out / "dataset.json").exists()
    if not finished and not (out / STARTED).exists():
        if out.is_dir() and any(not path.name.startswith(".lock") for path in out.iterdir()):
            raise DataError(f"{out} holds something else than a packed data set: name another folder, out=DIR.")
        write_json(out / STARTED, made)
        return True
    before = _read_json(out / "dataset.json").get("made", {}) if finished else _read_json(out / STARTED)
    made |= {key: before[key] for key in ("mean", "std") if nearly_equal(before.get(key), made[key])}
    for key, value in made.items():
        if before.get(key) != value:
            raise DataError(
                f"{out} holds another packing: its {key} is {before.get(key)}, and this command's is {value}.\n"
                "Name another folder, out=DIR."
            )
    if finished and _read_json(out / "dataset.json").get("sizes", sizes) != sizes:  # older packings do not say
        raise DataError(
            f"{out} was packed of these images, and some of them have changed since: pack them into another folder, "
            "out=DIR, or remove it."
        )
    return not finished


def release(out: Path) -> None:
    """Remove what a finished packing needs no more."""
    for path in (*out.glob("*.npz"), out / STARTED):
        path.unlink(missing_ok=True)


def save(out: Path, split: str, shard: int, record: Record) -> None:
    with written_whole(_path(out, split, shard)) as file:
        rest = json.dumps([record.end, record.before, record.skipped, record.stamp]).encode()
        arrays: dict[str, Any] = {**record.columns, "rest": numpy.frombuffer(rest, numpy.uint8)}
        numpy.savez(file, **arrays)


def records(out: Path, split: str) -> Iterator[Record]:
    """The finished shards of a split, in order, up to the first that is missing or damaged."""
    shard = 0
    while (path := _path(out, split, shard)).exists():
        try:
            with numpy.load(path, allow_pickle=False) as saved:
                columns = {name: saved[name] for name in COLUMNS}
                record = Record(columns, *json.loads(saved["rest"].tobytes()))
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return
        if not is_intact(out / shard_name(split, shard), columns):
            return
        yield record
        shard += 1


def write_json(path: Path, content: dict[str, Any]) -> None:
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        raise DataError(f"{path} is damaged: remove the folder, and pack again.") from None


def _path(out: Path, split: str, shard: int) -> Path:
    return out / shard_name(split, shard).replace(".tar", ".npz")
