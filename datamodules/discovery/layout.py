"""The layout of a folder of images, and the values that conf/datamodule/imagefolder.yaml leaves null. No torch."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.discovery import statistics
from lineage.datamodules.discovery.index import Index
from lineage.datamodules.discovery.labels import classes_in_names, open_labelled, read_labels
from lineage.datamodules.discovery.scanning import class_folders, files_of, folders_of, listed, other_files, printable
from lineage.datamodules.discovery.user_cache import cache_path
from lineage.datamodules.errors import DataError
from lineage.datamodules.split import Split, labels_among

# Usual names of a split, in upper or lower case.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
MOST_SPLITS = 20  # folders that are compared; if there are more, only names distinguish splits from classes


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """See statistics.infer_missing; `data` has the values of conf/datamodule/imagefolder.yaml. Raises DataError."""
    given = {role: data[f"{role}_folder"] for role in NAMES}
    splits = open_splits(Path(data["root"]), given, labels=data.get("labels"), columns=data.get("label_columns"))
    return statistics.infer_missing(splits, data)


# ---- which folders are splits


def split_folders(root: Path, given: Mapping[str, str | None], training: bool = True) -> dict[str, Path]:
    """The folders of the splits, `train` first. Without any, root itself is `train`. Raises DataError: there is no such
    folder, no training images, two folders for one split, or folders that may be splits or classes.

    Args:
        given: the folder of each split, below root; None: it is found by its name.
        training: whether training images are needed.
    """
    if not root.is_dir():
        raise DataError(
            f"{printable(root.absolute())} is not a folder. Name the one that holds the images: datamodule.root=FOLDER"
        )
    chosen = {role: name for role, name in given.items() if name is not None}
    if not training:  # the folder of an evaluation may have another layout than that of the training
        chosen = {role: name for role, name in chosen.items() if (root / name).is_dir()}
    names = [] if chosen.get("train") == "." else [name for name in folders_of(root) if name not in chosen.values()]
    candidates = _candidates(names)
    if not chosen and not _are_splits(root, names, candidates):
        return {"train": root}
    found = _only_one_each(root, {role: several for role, several in candidates.items() if role not in chosen}) | chosen
    if training and "train" not in found:
        raise DataError(
            f"{printable(root)} holds no training images: it has {listed(found.values())}, and no folder train. "
            "Another name is datamodule.train_folder=NAME."
        )
    return {role: _unwrapped(root / found[role]) for role in NAMES if role in found}


def named_split_folders(root: Path) -> dict[str, Path]:
    """The folders in root that are named like a split, by role. Raises DataError: there are two for one split."""
    return {role: root / name for role, name in _only_one_each(root, _candidates(folders_of(root))).items()}


def _only_one_each(root: Path, candidates: Mapping[str, list[str]]) -> dict[str, str]:
    for role, several in candidates.items():
        if len(several) > 1:
            place = printable(root)
            raise DataError(f"{place} holds {listed(several)}: which of them is {role}? datamodule.{role}_folder=NAME.")
    return {role: name for role, (name,) in candidates.items()}


def roles_in(name: str) -> list[str]:
    """The splits that the words of a name mean: seg_train, train2017, TrainingSet and trainset mean train."""
    words = [re.sub("(sets?|data|images)$", "", word.lower()) for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)]
    return [role for word in words for role, names in NAMES.items() if word in names]


def _candidates(names: list[str]) -> dict[str, list[str]]:
    """The names that mean a split, by role: its usual names or, without any, those with a word that is one."""
    found = {}
    for role, usual in NAMES.items():
        exact = [name for name in names if name.lower() in usual]
        found[role] = exact or [name for name in names if set(roles_in(name)) == {role}]
    return {role: several for role, several in found.items() if several}


def _are_splits(root: Path, names: list[str], candidates: Mapping[str, list[str]]) -> bool:
    """Whether the folders in root are splits; otherwise they are classes. Raises DataError: they may be either."""
    named = [name for several in candidates.values() for name in several]
    inside = {name: class_folders(_unwrapped(root / name)) for name in (names if len(names) <= MOST_SPLITS else named)}
    if named and len(named) == len(names):
        return True
    train = candidates.get("train", named)
    most = max((len(inside[name]) for name in train), default=0)
    usual = any(name.lower() in words for name in train for words in NAMES.values())
    if (most and usual) or (most > 1 and len(named) > 1):
        return True
    first = max(inside.values(), key=len, default=[])
    alike = [name for name in names if len({*inside.get(name, ())} & {*first}) > max(len(inside.get(name, ())) / 2, 1)]
    if len(alike) > 1 and 2 * len(alike) >= len(names):
        raise DataError(
            f"{printable(root)} holds {listed(alike)}, each with folders such as {listed(first[:2])}: are they splits "
            f"or classes?\nSplits: datamodule.train_folder={printable(alike[0])} datamodule.test_folder="
            f"{printable(alike[1])}. Classes: datamodule.train_folder=."
        )
    return False


def _unwrapped(folder: Path) -> Path:
    """seg_train/seg_train for seg_train, if that is all it holds: the same name, or a name of the same split."""
    below = class_folders(folder)
    same = len(below) == 1 and (below[0] == folder.name or roles_in(below[0]) == roles_in(folder.name) != [])
    return folder / below[0] if same else folder


# ---- the splits


def open_splits(
    root: Path, given: Mapping[str, str | None], training: bool = True,
    labels: str | None = None, columns: Sequence[str] | None = None,
) -> dict[str, Split]:  # fmt: skip
    """The splits, `train` first. Raises DataError: a class has no training image, there is only one class, or another
    split has a class that train lacks.

    Args:
        given: see split_folders.
        training: whether they train a network; a test needs no training images, and no image of each class.
        labels, columns: a table of the images' classes; see read_labels.
    """
    folders = split_folders(root, given, training)
    notes = _layout_notes(root, folders)
    known = folders_of(folders["train"]) if "train" in folders else []
    table = read_labels(root, labels, columns) if labels is not None else None
    alone = "test" in folders and given["test"] is None and len(folders) > 1
    if alone and _is_unlabelled(folders["test"], root, known, table):
        notes.append(f"{printable(folders.pop('test'))} is not read: its images have no class")
    indices: dict[str, Index] = {}
    for role, folder in folders.items():
        indices[role], more = open_labelled(folder, root, table)
        notes += more
    if training:
        _check_training(indices)
        classes = indices["train"].classes
    else:
        classes = sorted({name for index in indices.values() for name in index.classes}, key=os.fsencode)
    first, *_ = indices
    return {role: _split(index, classes, notes if role == first else []) for role, index in indices.items()}


def _layout_notes(root: Path, folders: Mapping[str, Path]) -> list[str]:
    """A note that names the folder of each split and the folders that are not read, unless all have usual names."""
    if root in folders.values():
        return []
    names = {role: os.path.relpath(folder, root) for role, folder in folders.items()}
    others = {*folders_of(root)} - {name.split(os.sep)[0] for name in names.values()}
    note = ", ".join(f"{role} is {printable(name)}" for role, name in names.items())
    note += f"; not read: {listed(sorted(others))}" if others else ""
    return [] if not others and all(name.lower() in NAMES[role] for role, name in names.items()) else [note]


def _is_unlabelled(folder: Path, root: Path, classes: list[str], table: dict[str, str] | None) -> bool:
    """Whether the images of a test have no class, as those of a competition."""
    below = folders_of(folder)
    if table is not None:
        return not len(open_labelled(folder, root, table)[0])
    return (not below and not classes_in_names(files_of(folder))) or (len(below) == 1 and below[0] not in classes)


def _check_training(indices: Mapping[str, Index]) -> None:
    train = indices["train"]
    place = printable(train.folder)
    if not len(train):
        raise DataError(f"datamodule.labels names none of the images of {place}.")
    if empty_classes(train):
        raise DataError(f"{place} has class folders without an image: {described_empty(train)}.")
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


def _split(index: Index, classes: list[str], notes: list[str]) -> Split:
    labels, names = labels_among(index, classes), list(map(printable, classes))
    place = printable(index.folder)
    cache = index.cache or cache_path(index.folder)  # of statistics
    own = index.notes() if index.cache else []
    return Split(place, index, labels, names, index.digest, cache, index.stamp, [*own, *notes])


def empty_classes(index: Index) -> list[str]:
    used = set(numpy.unique(index.labels).tolist())
    return [name for label, name in enumerate(index.classes) if label not in used]


def described_empty(index: Index) -> str:
    """The class folders without an image, and what they hold instead: bee (12 .heic)."""
    described = []
    for name in empty_classes(index):
        others = [f"{count:,} {ending or 'other'}" for ending, count in other_files(index.folder, name).most_common(2)]
        described.append(f"{printable(name)} ({', '.join(others)})" if others else printable(name))
    return listed(described)
