"""What a set of the Hub leaves to be found (null in its YAML), and its pixels where it fits in memory; both are found
once, and kept in the user's cache under the set's fingerprint. No torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from datamodules.errors import DataError
from datamodules.facts import MOST_BYTES, Facts, bytes_of, look
from datamodules.hub import Part, load_parts
from datamodules.layout import LEAST_SIDE, VALIDATION_SHARE
from datamodules.pixels import decoded
from datamodules.spreading import announce
from datamodules.user_cache import alone, cache_folder


def find_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """What conf/datamodule/huggingface.yaml leaves null, by its keys; what `data` says goes before.

    Raises:
        DataError: there is no such set, or none of its images can be read; they have several sizes, and `resolution`
            is given.
    """
    parts, turn, channels = load_parts(data), bool(data["exif_rotation"]), data["channels"]
    facts = facts_of(parts["train"], turn, channels)
    if data["resolution"] is not None and facts.smallest != facts.largest:
        raise DataError(
            f"datamodule.resolution={data['resolution']}: these images have sizes from {facts.sizes()}.\n"
            "What a network sees of them is recipe.train_res and recipe.test_res."
        )
    sides = {facts_of(part, turn, channels).side for part in parts.values()} if facts.side else {None}
    count, side = sum(len(part.rows) for part in parts.values()), max(facts.side or 0, LEAST_SIDE)
    in_memory = sides == {facts.side} and facts.side and bytes_of(count, facts.channels, side) <= MOST_BYTES
    return {
        "num_classes": len(parts["train"].classes),
        "channels": facts.channels,
        "mean": facts.mean,
        "std": facts.std,
        "resolution": side if in_memory else None,
        "val_size": None if "val" in parts else validation_size(parts["train"]),
    }


def validation_size(train: Part) -> int:
    """Training images that are held out where the set has no validation images."""
    return max(len(train.rows) // VALIDATION_SHARE, 1)


def facts_of(part: Part, turn: bool, channels: int | None) -> Facts:
    """Raises DataError: no image can be read."""
    file = _cache(part) / f"facts-{'turned' if turn else 'stored'}-{channels or 'found'}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Facts(**json.loads(file.read_text()))
    announce(f"looking at images of {part.rows.split} once", len(part.rows))
    facts = look(part.rows, turn=turn, channels=channels)
    _keep(file, lambda opened: opened.write(json.dumps(facts._asdict()).encode()))
    return facts


def pixels_of(part: Part, channels: int, turn: bool) -> numpy.ndarray:
    """(N, channels, side, side) uint8; pages of a file that processes share, where the cache can be written.

    Raises:
        DataError: an image cannot be read, or is of another size than the first.
    """
    file = _cache(part) / f"pixels-{'turned' if turn else 'stored'}-{channels}.npy"
    with alone(_cache(part)):
        with contextlib.suppress(OSError, ValueError, EOFError):
            kept = numpy.load(file, mmap_mode="c", allow_pickle=False)  # what is written to it stays in this process
            if kept.dtype == numpy.uint8 and kept.shape[:2] == (len(part.rows), channels):
                return kept
        pixels = decoded(part.rows, channels, turn, part.rows.split)
        _keep(file, lambda opened: numpy.save(opened, pixels))
    return pixels


def _cache(part: Part) -> Path:
    return cache_folder() / f"huggingface-{part.fingerprint}"


def _keep(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """A whole file or none; none on a full disk, or where nothing can be written."""
    unfinished = file.with_name(f"{file.name}.part-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as opened:
            write(opened)
            os.fsync(opened.fileno())
        unfinished.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
