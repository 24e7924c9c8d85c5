"""How a folder of images is laid out, and what a data set of it leaves to be found (null in its YAML). No torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy

from datamodules.errors import DataError
from datamodules.facts import MOST_BYTES, Facts, bytes_of, look
from datamodules.index import FileBlobs, Index, open_index
from datamodules.scanning import folders_of, shown
from datamodules.spreading import announce

# What people call the folders of a split, in any case.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
LEAST_SIDE = 32  # pixels: LeNet-5's, and that of most networks for small images; smaller images are shown at it
VALIDATION_SHARE = 10  # of the training images a tenth, where nobody says how many and no folder has them


def find_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """What conf/datamodule/imagefolder.yaml leaves null, by its keys; what `data` says goes before.

    Raises:
        DataError: there is no such folder, its classes do not fit together, none of its images can be read; they have
            several sizes, and `resolution` is given.
    """
    indices = open_parts(Path(data["root"]))
    turn, channels = bool(data["exif_rotation"]), data["channels"]
    facts = facts_of(indices["train"], turn, channels)
    if data["resolution"] is not None and facts.smallest != facts.largest:
        raise DataError(
            f"datamodule.resolution={data['resolution']}: these images have sizes from {facts.sizes()}.\n"
            "What a network sees of them is recipe.train_res and recipe.test_res."
        )
    sides = {facts_of(index, turn, channels).side for index in indices.values()} if facts.side else {None}
    count, side = sum(map(len, indices.values())), max(facts.side or 0, LEAST_SIDE)
    in_memory = facts.side and sides == {facts.side} and bytes_of(count, facts.channels, side) <= MOST_BYTES
    return {
        "num_classes": len(indices["train"].classes),
        "channels": facts.channels,
        "mean": facts.mean,
        "std": facts.std,
        "resolution": side if in_memory else None,
        "val_size": None if "val" in indices else validation_size(indices["train"]),
    }


def validation_size(train: Index) -> int:
    """Training images that are held out where no folder holds validation images."""
    return max(len(train) // VALIDATION_SHARE, 1)


# ---- the folders


def parts_of(root: Path) -> dict[str, Path]:
    """The folders of `train`, and of `val` and `test` if there are any; of class folders without a split, train.

    Raises:
        DataError: there is no such folder, no training images, or two folders of one meaning.
    """
    if not root.is_dir():
        raise DataError(f"{shown(root.absolute())} is not a folder. Name that of the images: datamodule.root=FOLDER")
    names, found = folders_of(root), named_parts(root)
    alone = len(found) == len(names)
    if "train" in found and (alone or folders_of(found["train"])):
        return found
    if found and "train" not in found and (alone or any(map(folders_of, found.values()))):
        raise DataError(f"{shown(root)} holds no training images: it has {listed(found)}, and no folder train.")
    return {"train": root}


def named_parts(root: Path) -> dict[str, Path]:
    """The folders of a split by their names, of those that there are. Raises DataError: two of one meaning."""
    found = {}
    for part, names in NAMES.items():
        those = [name for name in folders_of(root) if name.lower() in names]
        if len(those) > 1:
            raise DataError(
                f"{shown(root)} holds {listed(those)}: which of them is {part}? Rename or remove the other."
            )
        if those:
            found[part] = root / those[0]
    return found


def open_parts(root: Path) -> dict[str, Index]:
    """The indices of the folders, `train` first.

    Raises:
        DataError: a class has no image, there is only one, or another part has a class that train lacks.
    """
    indices = {part: open_index(folder) for part, folder in parts_of(root).items()}
    train = indices["train"]
    if empty_classes(train):
        raise DataError(f"{shown(train.folder)} has class folders without an image: {listed(empty_classes(train))}.")
    if len(train.classes) < 2:
        only = train.folder / train.classes[0]
        hint = f" Is it datamodule.root={shown(only)}?" if folders_of(only) else ""
        raise DataError(f"{shown(train.folder)} has one class folder only, {shown(only.name)}.{hint}")
    for index in indices.values():
        more = sorted(set(index.classes) - set(train.classes) - set(empty_classes(index)))
        if more:
            raise DataError(
                f"{shown(index.folder)} has classes that {shown(train.folder)} lacks: {listed(more)}.\n"
                "A class is a folder of the same name in both."
            )
    return indices


def empty_classes(index: Index) -> list[str]:
    return [name for name, count in zip(index.classes, index.counts(), strict=True) if not count]


def labels_among(index: Index, classes: list[str]) -> numpy.ndarray:
    """(N,) int64, the labels of an index by their place among `classes`, which has all that have images."""
    places = {name: place for place, name in enumerate(classes)}
    return numpy.array([places.get(name, -1) for name in index.classes], numpy.int64)[index.labels]


def listed(names: Iterable[str]) -> str:
    """For people: the first five."""
    names = [shown(name) for name in names]
    return ", ".join(names[:5]) + (f", ... ({len(names):,} in all)" if len(names) > 5 else "")


# ---- what was found once


def facts_of(index: Index, turn: bool, channels: int | None) -> Facts:
    """From the cache, or by looking at the images. Raises DataError: none can be read."""
    known = known_facts(index, turn, channels)
    if known is not None:
        return known
    announce(f"looking at images of {shown(index.folder)} once", len(index))
    facts = look(FileBlobs(index), turn=turn, channels=channels)
    if index.cache is not None:
        file = _facts_file(index, turn, channels)
        part = file.with_suffix(f".part-{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk: they are found anew the next time
            part.write_text(json.dumps(facts._asdict()))
            part.replace(file)
    return facts


def known_facts(index: Index, turn: bool, channels: int | None) -> Facts | None:
    """From the cache; None if they are not there, or damaged."""
    try:
        return Facts(**json.loads(_facts_file(index, turn, channels).read_text())) if index.cache else None
    except (OSError, ValueError, TypeError):
        return None


def _facts_file(index: Index, turn: bool, channels: int | None) -> Path:
    assert index.cache is not None
    return index.cache / f"facts-{'turned' if turn else 'stored'}-{channels or 'found'}.json"
