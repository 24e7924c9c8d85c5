"""Image classification sets of the Hugging Face Hub, or saved by its package `datasets`: a row an image. No torch."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.discovery import statistics as facts
from lineage.datamodules.discovery.layout import NAMES, listed
from lineage.datamodules.discovery.user_cache import cache_folder
from lineage.datamodules.errors import DataError
from lineage.datamodules.split import Split

LABEL_TYPES = ("string", "large_string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class ArrowImages:
    """The images of a split as encoded images (datamodules/decoding/encoded_images.py)."""

    def __init__(self, name: str, table: Any, column: str) -> None:
        self.split, self.table, self.column = name, table, column

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        return f"row {index} of {self.split}"

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """Nothing: a table that changes has another fingerprint."""
        return ""

    def read(self, index: int) -> bytes:
        """Raises OSError: the row has no image, or its file cannot be read or is none."""
        image = self.table[index][self.column] or {}
        if image.get("bytes") is not None:
            return image["bytes"]
        if image.get("path") is None:
            raise OSError(errno.ENODATA, "the row has no image")
        file = os.open(image["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, "rb", buffering=0) as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            return opened.read()


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """What conf/datamodule/huggingface.yaml leaves null, by its keys; what `data` says goes before.

    Raises:
        DataError: there is no such set, or none of its images can be read; they have several sizes, and `resolution`
            is given.
    """
    return facts.infer_missing(load_splits(data), data)


def load_splits(data: Mapping[str, Any]) -> dict[str, Split]:
    """The splits that a run reads by their roles: train, and val and test if there are any.

    Args:
        data: the values of conf/datamodule/huggingface.yaml.

    Raises:
        DataError: the package is not installed; there is no such set, split or column, or no label in it.
    """
    name, found = data["name"], _load(data["name"], data["config"])
    splits = {role: _split(name, split, found[split], data) for role, split in _splits(name, list(found), data).items()}
    for role, part in list(splits.items()):
        if role != "train" and part.classes == ["-1"]:  # numbers, as where no label is known
            part = splits[role] = replace(part, labels=numpy.full_like(part.labels, -1))
        missing = int((part.labels < 0).sum())
        if missing and (missing < len(part.labels) or role == "train" or data[f"{role}_split"]):
            raise DataError(f"{part.name}: {missing:,} of {len(part.labels):,} images have no label.")
        if missing or not len(part.labels):  # a test whose labels are secret
            del splits[role]
    if "train" not in splits:
        raise DataError(f"{name} has no training images.")
    return {role: _relabelled(part, splits["train"].classes) for role, part in splits.items()}


def _load(name: str, config: str | None) -> Mapping[str, Any]:
    """The splits by name."""
    try:
        import datasets
    except ImportError:
        raise DataError('datamodule=huggingface needs the package datasets: pip install "datasets>=4"') from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it announces every try to reach the network
    folder = Path(name)
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    if saved and config is not None:
        raise DataError(f"datamodule.config={config}: {name} is a folder that was saved, of one config: null.")
    try:
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config)
    except Exception as error:  # what networks, servers and readers of many formats let through
        words = " ".join(str(error).split("\nExample of usage")[0].split()) or type(error).__name__
        raise DataError(
            f"datamodule.name={name}: {words:.300}\nIt is a name at huggingface.co/datasets or a folder; gated sets "
            "need `hf auth login`, those of several configs datamodule.config=NAME."
        ) from None
    return found if isinstance(found, Mapping) else {"train": found}


def _splits(name: str, splits: Sequence[str], data: Mapping[str, Any]) -> dict[str, str]:
    """The names of the splits by role."""
    chosen = {}
    taken = {data[f"{role}_split"] for role in NAMES}
    for role, names in NAMES.items():
        said = data[f"{role}_split"]
        if said is not None and said not in splits:
            raise DataError(f"datamodule.{role}_split={said}: {name} has the splits {listed(splits)}.")
        those = (
            [said] if said is not None else [split for split in splits if split.lower() in names and split not in taken]
        )
        if len(those) > 1:
            raise DataError(f"{name} has the splits {listed(those)}: say which, datamodule.{role}_split={those[0]}.")
        if those:
            chosen[role] = those[0]
    if "train" not in chosen and len(splits) == 1:
        return {"train": splits[0]}
    if "train" not in chosen:
        raise DataError(f"{name} has the splits {listed(splits)}: say which to train on, datamodule.train_split=NAME.")
    return chosen


def _split(name: str, split: str, table: Any, data: Mapping[str, Any]) -> Split:
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
    plain = table.select_columns([column]).cast_column(column, Image(decode=False)).with_format(None)
    rows, numbers = ArrowImages(f"{name}/{split}", plain, column), numbers.astype(numpy.int64)
    return Split(
        name=rows.split,
        blobs=rows,
        labels=numbers,
        classes=classes,
        # Unlike the fingerprint, which holds times of cached files, it is the same on another machine.
        digest=hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest(),
        cache=cache_folder() / f"huggingface-{table._fingerprint}",
        stamp=rows.stamp,
    )


def _column(
    name: str, what: str, said: str | None, found: Sequence[str], possible: Sequence[str], kinds: Mapping[str, Any]
) -> str:
    if said is not None:
        if said not in possible:
            raise DataError(
                f"datamodule.{what}_column={said}: {name} has {what}s in {listed(possible) or 'no column'}."
            )
        return said
    if not found:
        columns = ", ".join(f"{column} ({getattr(kind, 'dtype', 'list')})" for column, kind in kinds.items())
        raise DataError(f"{name} has no column of {what}s: it has {columns}.")
    if len(found) > 1:
        raise DataError(
            f"{name} has several columns of {what}s, {listed(found)}: name one, datamodule.{what}_column={found[0]}."
        )
    return found[0]


def _sorted_classes(values: Any) -> tuple[list[str], numpy.ndarray]:
    """Of labels that are words or numbers: the distinct ones in their order, and the place of each; -1 of none."""
    coded = values.dictionary_encode()
    words = coded.dictionary.to_pylist()
    order = sorted(range(len(words)), key=lambda i: words[i])
    places = numpy.full(len(words) + 1, -1)
    places[order] = numpy.arange(len(words))
    return [str(words[i]) for i in order], places[coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)]


def _relabelled(part: Split, classes: list[str]) -> Split:
    """By place among the classes of the training images. Raises DataError: there are others."""
    if part.classes == classes:
        return part
    places = {label: place for place, label in enumerate(classes)}
    labels = numpy.array([places.get(label, -1) for label in part.classes], numpy.int64)[part.labels]
    if (labels < 0).any():
        more = [part.classes[i] for i in numpy.unique(part.labels[labels < 0])]
        raise DataError(f"{part.name} has classes that the training images lack: {listed(more)}.")
    return replace(part, labels=labels, classes=classes)
