"""The layout of a folder of images, and the values that conf/datamodule/imagefolder.yaml leaves null. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.discovery import statistics
from lineage.datamodules.discovery.index import Index, open_index
from lineage.datamodules.discovery.scanning import folders_of, printable
from lineage.datamodules.errors import DataError
from lineage.datamodules.split import Split

# Usual names of a split, in upper or lower case.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """See statistics.infer_missing; `data` has the values of conf/datamodule/imagefolder.yaml. Raises DataError."""
    return statistics.infer_missing(open_splits(Path(data["root"])), data)


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of `train`, and of `val` and `test` if there are any. Without any, root itself is `train`.

    Raises:
        DataError: there is no such folder, no training images, or two folders for one split.
    """
    if not root.is_dir():
        raise DataError(
            f"{printable(root.absolute())} is not a folder. Name the one that holds the images: datamodule.root=FOLDER"
        )
    found = named_split_folders(root)
    no_others = len(found) == len(folders_of(root))
    if "train" in found and (no_others or folders_of(found["train"])):
        return found
    if found and "train" not in found and (no_others or any(map(folders_of, found.values()))):
        raise DataError(f"{printable(root)} holds no training images: it has {listed(found)}, and no folder train.")
    return {"train": root}


def named_split_folders(root: Path) -> dict[str, Path]:
    """The folders in root that are named like a split. Raises DataError: there are two for one split."""
    found = {}
    for split, names in NAMES.items():
        candidates = [name for name in folders_of(root) if name.lower() in names]
        if len(candidates) > 1:
            raise DataError(
                f"{printable(root)} holds {listed(candidates)}: which of them is {split}? Rename or remove the other."
            )
        if candidates:
            found[split] = root / candidates[0]
    return found


def open_splits(root: Path) -> dict[str, Split]:
    """The splits, `train` first.

    Raises:
        DataError: a class has no training image, there is only one class, or another split has a class that train
            lacks.
    """
    indices = {name: open_index(folder) for name, folder in split_folders(root).items()}
    train = indices["train"]
    place = printable(train.folder)
    if empty_classes(train):
        raise DataError(f"{place} has class folders without an image: {listed(empty_classes(train))}.")
    if len(train.classes) < 2:
        only = train.folder / train.classes[0]
        hint = f" Is it datamodule.root={printable(only)}?" if folders_of(only) else ""
        raise DataError(f"{place} has one class folder only, {printable(only.name)}.{hint}")
    for index in indices.values():
        if not len(index):
            raise DataError(f"{printable(index.folder)} has class folders without an image: fill or remove it.")
        more = sorted(set(index.classes) - set(train.classes) - set(empty_classes(index)))
        if more:
            raise DataError(
                f"{printable(index.folder)} has classes that {place} lacks: {listed(more)}.\n"
                "A class is a folder of the same name in both."
            )
    return {name: _split(index, train.classes) for name, index in indices.items()}


def _split(index: Index, classes: list[str]) -> Split:
    labels, names = labels_among(index, classes), list(map(printable, classes))
    place = printable(index.folder)
    return Split(place, index, labels, names, index.digest, index.cache, index.stamp, index.notes())


def empty_classes(index: Index) -> list[str]:
    used = set(numpy.unique(index.labels).tolist())
    return [name for label, name in enumerate(index.classes) if label not in used]


def labels_among(index: Index, classes: list[str]) -> numpy.ndarray:
    """(N,) int64, the labels of an index as numbers in `classes`, which has every class with an image."""
    numbers = {name: number for number, name in enumerate(classes)}
    return numpy.array([numbers.get(name, -1) for name in index.classes], numpy.int64)[index.labels]


def listed(names: Iterable[str]) -> str:
    """The first five names, and how many there are."""
    names = [printable(name) for name in names]
    return ", ".join(names[:5]) + (f", ... ({len(names):,} in all)" if len(names) > 5 else "")
