"""How a folder of images is laid out, and what a data set of it leaves to be found (null in its YAML). No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.discovery import statistics as facts
from lineage.datamodules.discovery.index import FileBlobs, Index, open_index
from lineage.datamodules.discovery.scanning import folders_of, printable
from lineage.datamodules.errors import DataError
from lineage.datamodules.split import Split

# What people call the folders of a split, in any case.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """What conf/datamodule/imagefolder.yaml leaves null, by its keys; what `data` says goes before.

    Raises:
        DataError: there is no such folder, its classes do not fit together, none of its images can be read; they have
            several sizes, and `resolution` is given.
    """
    return facts.infer_missing(open_splits(Path(data["root"])), data)


# ---- the folders


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of `train`, and of `val` and `test` if there are any; of class folders without a split, train.

    Raises:
        DataError: there is no such folder, no training images, or two folders of one meaning.
    """
    if not root.is_dir():
        raise DataError(
            f"{printable(root.absolute())} is not a folder. Name that of the images: datamodule.root=FOLDER"
        )
    names, found = folders_of(root), named_split_folders(root)
    alone = len(found) == len(names)
    if "train" in found and (alone or folders_of(found["train"])):
        return found
    if found and "train" not in found and (alone or any(map(folders_of, found.values()))):
        raise DataError(f"{printable(root)} holds no training images: it has {listed(found)}, and no folder train.")
    return {"train": root}


def named_split_folders(root: Path) -> dict[str, Path]:
    """The folders of a split by their names, of those that there are. Raises DataError: two of one meaning."""
    found = {}
    for split, names in NAMES.items():
        those = [name for name in folders_of(root) if name.lower() in names]
        if len(those) > 1:
            raise DataError(
                f"{printable(root)} holds {listed(those)}: which of them is {split}? Rename or remove the other."
            )
        if those:
            found[split] = root / those[0]
    return found


def open_splits(root: Path) -> dict[str, Split]:
    """The splits, `train` first.

    Raises:
        DataError: a class has no image, there is only one, or another split has a class that train lacks.
    """
    indices = {name: open_index(folder) for name, folder in split_folders(root).items()}
    train = indices["train"]
    if empty_classes(train):
        raise DataError(
            f"{printable(train.folder)} has class folders without an image: {listed(empty_classes(train))}."
        )
    if len(train.classes) < 2:
        only = train.folder / train.classes[0]
        hint = f" Is it datamodule.root={printable(only)}?" if folders_of(only) else ""
        raise DataError(f"{printable(train.folder)} has one class folder only, {printable(only.name)}.{hint}")
    for index in indices.values():
        if not len(index):
            raise DataError(f"{printable(index.folder)} has class folders without an image: fill or remove it.")
        more = sorted(set(index.classes) - set(train.classes) - set(empty_classes(index)))
        if more:
            raise DataError(
                f"{printable(index.folder)} has classes that {printable(train.folder)} lacks: {listed(more)}.\n"
                "A class is a folder of the same name in both."
            )
    return {name: _split(index, train.classes) for name, index in indices.items()}


def _split(index: Index, classes: list[str]) -> Split:
    blobs, labels = FileBlobs(index), labels_among(index, classes)
    name, names = printable(index.folder), list(map(printable, classes))
    return Split(name, blobs, labels, names, index.digest, index.cache, blobs.stamp, index.notes())


def empty_classes(index: Index) -> list[str]:
    return [name for name, count in zip(index.classes, index.counts(), strict=True) if not count]


def labels_among(index: Index, classes: list[str]) -> numpy.ndarray:
    """(N,) int64, the labels of an index by their place among `classes`, which has all that have images."""
    places = {name: place for place, name in enumerate(classes)}
    return numpy.array([places.get(name, -1) for name in index.classes], numpy.int64)[index.labels]


def listed(names: Iterable[str]) -> str:
    """For people: the first five."""
    names = [printable(name) for name in names]
    return ", ".join(names[:5]) + (f", ... ({len(names):,} in all)" if len(names) > 5 else "")
