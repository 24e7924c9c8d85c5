"""Image classification sets of the Hugging Face Hub, or saved by its package `datasets`. No torch."""

import errno
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.discovery import statistics
from lineage.datamodules.discovery.index import read_regular_file
from lineage.datamodules.discovery.layout import NAMES
from lineage.datamodules.discovery.scanning import listed
from lineage.datamodules.discovery.user_cache import cache_folder
from lineage.datamodules.errors import DataError
from lineage.datamodules.split import Split, labels_among

LABEL_TYPES = ("string", "large_string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class ArrowImages:
    """The images of an Arrow table as encoded images (Blobs). name: of the split, in messages."""

    def __init__(self, name: str, table: Any, column: str) -> None:
        self.split, self.table, self.column = name, table, column

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        return f"row {index} of {self.split}"

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """Nothing: a table that changes has another fingerprint, and so another cache."""
        return ""

    def read(self, index: int) -> bytes:
        """Raises OSError: the row has no image, or its file cannot be read."""
        image = self.table[index][self.column] or {}
        if image.get("bytes") is not None:
            return image["bytes"]
        if image.get("path") is None:
            raise OSError(errno.ENODATA, "the row has no image")
        return read_regular_file(image["path"])


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """See statistics.infer_missing; `data` has the values of conf/datamodule/huggingface.yaml. Raises DataError."""
    return statistics.infer_missing(load_splits(data), data)


def load_splits(data: Mapping[str, Any]) -> dict[str, Split]:
    """The splits that a run reads, by role: train, and val and test if there are any. data: the values of
    conf/datamodule/huggingface.yaml. Raises DataError: the package is not installed; there is no such data set, split
    or column; training labels are missing."""
    name, tables = data["name"], _load(data["name"], data["config"])
    chosen = _split_names(name, list(tables), data)
    splits = {role: _split(name, split_name, tables[split_name], data) for role, split_name in chosen.items()}
    for role, split in list(splits.items()):
        if role != "train" and split.classes == ["-1"]:  # how numbered labels say that they are unknown
            split = splits[role] = replace(split, labels=numpy.full_like(split.labels, -1))
        missing = int((split.labels < 0).sum())
        if missing and (missing < len(split) or role == "train" or data[f"{role}_split"]):
            raise DataError(f"{split.name}: {missing:,} of {len(split):,} images have no label.")
        if missing or not len(split):  # a test set whose labels are secret
            del splits[role]
    if "train" not in splits:
        raise DataError(f"{name} has no training images.")
    return {role: _relabelled(split, splits["train"].classes) for role, split in splits.items()}


def _load(name: str, config: str | None) -> Mapping[str, Any]:
    """The tables of the splits, by name."""
    try:
        import datasets
    except ImportError:
        raise DataError('datamodule=huggingface needs the package datasets: pip install "datasets>=4"') from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every attempt to reach the network
    folder = Path(name)
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    if saved and config is not None:
        raise DataError(f"datamodule.config={config}: {name} is a saved folder, which has no configs. Set null.")
    try:
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config)
    except Exception as error:  # of networks, servers and readers of many formats
        words = " ".join(str(error).split("\nExample of usage")[0].split()) or type(error).__name__
        raise DataError(
            f"datamodule.name={name}: {words:.300}\nIt is a name at huggingface.co/datasets or a folder; gated sets "
            "need `hf auth login`, sets with several configs datamodule.config=NAME."
        ) from None
    return found if isinstance(found, Mapping) else {"train": found}


def _split_names(name: str, names: Sequence[str], data: Mapping[str, Any]) -> dict[str, str]:
    """The data set's name of each split, by role."""
    given = {role: data[f"{role}_split"] for role in NAMES}
    chosen = {role: split for role, split in given.items() if split is not None}
    for role, usual_names in NAMES.items():
        if given[role] not in (None, *names):
            raise DataError(f"datamodule.{role}_split={given[role]}: {name} has the splits {listed(names)}.")
        usual = [split for split in names if split.lower() in usual_names and split not in given.values()]
        if role not in chosen and len(usual) > 1:
            raise DataError(f"{name} has the splits {listed(usual)}. Choose one: datamodule.{role}_split={usual[0]}")
        if role not in chosen and usual:
            chosen[role] = usual[0]
    if "train" not in chosen and len(names) > 1:
        raise DataError(
            f"{name} has the splits {listed(names)}. Choose the training split: datamodule.train_split=NAME"
        )
    return chosen if "train" in chosen else {"train": names[0]}


def _split(name: str, split_name: str, table: Any, data: Mapping[str, Any]) -> Split:
    from datasets import ClassLabel, Image

    kinds = table.features
    images = [column for column, kind in kinds.items() if isinstance(kind, Image)]
    labels = [column for column, kind in kinds.items() if isinstance(kind, ClassLabel)]
    others = [column for column, kind in kinds.items() if getattr(kind, "dtype", None) in LABEL_TYPES]
    column = _column(name, "image", data["image_column"], images, images, kinds)
    label = _column(name, "label", data["label_column"], labels or others, others, kinds)
    values = table.select_columns([label]).with_format("arrow")[:].column(label).combine_chunks()
    if label in labels:
        classes, numbers = list(kinds[label].names), values.fill_null(-1).to_numpy(zero_copy_only=False)
    else:
        classes, numbers = _sorted_classes(values)
    encoded = table.select_columns([column]).cast_column(column, Image(decode=False)).with_format(None)
    blobs, numbers = ArrowImages(f"{name}/{split_name}", encoded, column), numbers.astype(numpy.int64)
    return Split(
        name=blobs.split,
        blobs=blobs,
        labels=numbers,
        classes=classes,
        # Unlike the fingerprint, which depends on times of cached files, it is the same on another machine.
        digest=hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest(),
        cache=cache_folder() / f"huggingface-{table._fingerprint}",
        stamp=blobs.stamp,
    )


def _column(
    name: str, kind: str, given: str | None, found: Sequence[str], possible: Sequence[str], columns: Mapping[str, Any]
) -> str:
    """The given column of `possible` ones, or the only one of those that were `found`; kind: image or label."""
    if given in possible or (given is None and len(found) == 1):
        return given or found[0]
    if not possible:
        types = ", ".join(f"{column} ({getattr(feature, 'dtype', 'list')})" for column, feature in columns.items())
        raise DataError(f"{name} has no column of {kind}s: it has {types}.")
    wrong = f"datamodule.{kind}_column={given}: " if given else ""
    raise DataError(
        f"{wrong}{name} has {kind}s in {listed(possible)}. Choose one: datamodule.{kind}_column={possible[0]}"
    )


def _sorted_classes(values: Any) -> tuple[list[str], numpy.ndarray]:
    """The sorted distinct labels, which are words or numbers, and the class number of each row; -1 without a label."""
    coded = values.dictionary_encode()
    words = coded.dictionary.to_pylist()
    order = sorted(range(len(words)), key=lambda i: words[i])
    numbers = numpy.full(len(words) + 1, -1)
    numbers[order] = numpy.arange(len(words))
    return [str(words[i]) for i in order], numbers[coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)]


def _relabelled(split: Split, classes: list[str]) -> Split:
    """The split with labels that are numbers in the training classes. Raises DataError: it has other classes."""
    if split.classes == classes:
        return split
    labels = labels_among(split, classes)
    if (labels < 0).any():
        more = [split.classes[i] for i in numpy.unique(split.labels[labels < 0])]
        raise DataError(f"{split.name} has classes that the training images lack: {listed(more)}.")
    return replace(split, labels=labels, classes=classes)
