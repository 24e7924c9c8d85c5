"""Reads tars that others packed, in WebDataset's layout. Imports no torch.

    ROOT/train-000000.tar, ...      members KEY.jpg and KEY.cls, the label as text; or KEY.json with it as "label"
    ROOT/classes.txt                names of the classes, one a line, in the order of the labels; may be missing

They are indexed once, from their headers, and the index is kept in the user's cache until a tar changes. Every image is
then one read. Layout: https://github.com/webdataset/webdataset; img2dataset and timm's data sets on the Hub follow it.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy

from lineage.datamodules.discovery.layout import NAMES, roles_in
from lineage.datamodules.discovery.scanning import ENDINGS, listed, printable
from lineage.datamodules.discovery.user_cache import cache_path, locked, read_arrays, store_arrays
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import announce, parallel_map
from lineage.datamodules.packing.blobs import ShardBlobs
from lineage.datamodules.packing.remote import Place, read_small
from lineage.datamodules.split import Split
from lineage.files import reason

COLUMNS = ("shard", "offset", "length", "label", "name")
KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")  # KEY.ENDING as webdataset splits a name: at the first dot
LABEL_KEYS = ("label", "cls", "class")  # of KEY.json
CLASS_FILES = ("classes.txt", "classnames.txt")
MOST_CLASSES = 1_000_000
LARGEST_IMAGE = 2**31 - 1  # bytes
LARGEST_LABEL = 2**20  # bytes; a KEY.json may hold EXIF tags too
LARGEST_PADDING = 2**20  # bytes after the end of an archive: tar fills its last record, usually of 10 KiB
USUAL_IMAGE = 100_000  # bytes


class Member(NamedTuple):
    """A file in a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


def open_tars(root: str) -> dict[str, Split]:
    """The splits of the tars in a folder and its subfolders, `train` first. Raises DataError: there are none; one is
    damaged; an image has no label, or one that is no class."""
    folder = Path(os.path.abspath(root))
    tars = sorted(path for path in [*folder.glob("[!.]*.tar"), *folder.glob("[!.]*/[!.]*.tar")] if path.is_file())
    if not tars:
        raise DataError(
            f"{root} holds no packed data: no dataset.json, and no .tar. A folder of images is packed by\n"
            f"lineage prepare datamodule=imagefolder datamodule.root=FOLDER out={root}"
        )
    shards = {str(path.relative_to(folder)): path.stat().st_size for path in tars}
    version = json.dumps([shards, [path.stat().st_mtime_ns for path in tars]])
    stamp = hashlib.blake2b(version.encode(), digest_size=16).hexdigest()
    roles, place, kept = _roles(root, list(shards)), Place(root, folder), cache_path(folder)
    with locked(kept):
        indexed, columns = read_arrays(kept / "tars.npz")
        if indexed != version:
            columns = _index(place, shards)
            store_arrays(kept / "tars.npz", version, columns)
    classes = _class_names(root)
    splits: dict[str, Split] = {}
    for role in sorted(set(roles), key=list(NAMES).index):
        own = numpy.array([other == role for other in roles])[columns["shard"]]  # (N,) bool
        blobs = ShardBlobs(place, shards, {name: values[own] for name, values in columns.items()})
        if not len(blobs):
            raise DataError(f"{root}: the tars of {role} hold no images.")
        labels = blobs.columns["label"]
        classes = classes or list(map(str, range(labels.max() + 1)))  # as many as the training images have
        if labels.max() >= len(classes):
            where = blobs.name(int(labels.argmax()))
            raise DataError(f"{where} has the label {labels.max():,}, and there are {len(classes):,} classes.")
        digest = hashlib.blake2b(digest_size=16)
        for name in COLUMNS[1:]:
            digest.update(blobs.columns[name].tobytes())
        split_name = f"{root} ({role})"
        splits[role] = Split(split_name, blobs, labels, classes, digest.hexdigest(), kept / role, lambda images: stamp)
    return splits


def _roles(root: str, names: list[str]) -> list[str]:
    """The split of each tar, from the last word in its path that names one; train if no path has such a word."""
    found = list(map(roles_in, names))
    unclear = [name for name, roles in zip(names, found, strict=True) if not roles]
    if len(unclear) == len(names):
        return ["train"] * len(names)
    if unclear:
        raise DataError(f"{root} has tars that name train, val or test, and others that do not: {listed(unclear)}.")
    if not any(roles[-1] == "train" for roles in found):
        raise DataError(f"{root} holds no training images: it has {listed(names)}.")
    return [roles[-1] for roles in found]


def _class_names(root: str) -> list[str]:
    for name in CLASS_FILES:
        text = read_small(root, name)
        if text is not None:
            return [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return []


# ---- the index


def _index(place: Place, shards: Mapping[str, int]) -> dict[str, numpy.ndarray]:
    announce(f"indexing {len(shards):,} tars of {place.root} once", sum(shards.values()) // USUAL_IMAGE)
    tables, names = zip(*parallel_map(partial(_index_tar, place), list(shards.items())), strict=True)
    shard = numpy.repeat(numpy.arange(len(tables)), list(map(len, tables)))
    columns = shard, *numpy.concatenate(tables).T, numpy.array(list(chain.from_iterable(names)), numpy.bytes_)
    return dict(zip(COLUMNS, columns, strict=True))


def _index_tar(place: Place, shard: tuple[str, int]) -> tuple[numpy.ndarray, list[bytes]]:
    """Offset, length and label of each image of a tar, (N, 3) int64, and its name. Raises DataError."""
    path = place.file(*shard)
    try:
        with open(path, "rb") as file:
            labels = [(_label(path, file, sample), sample["image"]) for sample in _samples(path, file)]
    except DataError:
        raise
    except Exception as error:  # tarfile raises whatever its input provokes
        raise DataError(f"{path} cannot be read as a tar ({reason(error)}).") from None
    table = numpy.array([(image.offset, image.size, label) for label, image in labels], numpy.int64)
    return table.reshape(-1, 3), [os.fsencode(image.name)[:255] for _, image in labels]


def _samples(path: Path, file: BinaryIO) -> list[dict[str, Member]]:
    """The image, cls and json of each key. Raises DataError: the tar is damaged, or two images have one key."""
    samples: dict[str, dict[str, Member]] = {}
    size, last = os.fstat(file.fileno()).st_size, "its first member"
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            last = f"{path}: {printable(member.name)}"
            if member.size < 0 or (member.isreg() and member.offset_data + member.size > size):
                raise DataError(f"{last} would have {member.size:,} bytes, more than are there: the tar is cut short.")
            key, ending = found.groups() if (found := KEY.fullmatch(member.name)) else ("", "")
            kind = "image" if os.fsencode(f".{ending.lower()}") in ENDINGS else ending.lower()
            if kind not in ("image", "cls", "json") or member.isdir():
                continue
            if not member.isreg() or member.issparse() or member.size > LARGEST_IMAGE:
                raise DataError(f"{last} is a link, a sparse file, or too large to be read.")
            if kind in samples.setdefault(key, {}):
                raise DataError(f"{last} is the second {kind} of its key.")
            samples[key][kind] = Member(member.name, member.offset_data, member.size)
        file.seek(tar.offset)
        end = file.read(tarfile.BLOCKSIZE)
    if not end or end.strip(b"\0") or size - file.tell() > LARGEST_PADDING:
        raise DataError(f"{path} is damaged or cut short after {last}.")
    return [sample for sample in samples.values() if "image" in sample or "cls" in sample]


def _label(path: Path, file: BinaryIO, sample: Mapping[str, Member]) -> int:
    """Raises DataError: there is no image or no label, or the label is no whole number from 0 on."""
    source = sample.get("cls") or sample.get("json")
    if "image" not in sample or source is None:
        name = printable(next(iter(sample.values())).name)
        lacks = "label beside it, KEY.cls or KEY.json" if "image" in sample else "image beside it"
        raise DataError(f"{path}: {name} has no {lacks}.")
    text = os.pread(file.fileno(), min(source.size, LARGEST_LABEL), source.offset)
    try:
        fields = {"cls": text} if "cls" in sample else json.loads(text)
        values = [fields[key] for key in LABEL_KEYS if type(fields.get(key)) in (bytes, str, int)]
        label = int(values[0])
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
        label = -1
    if not 0 <= label < MOST_CLASSES:
        raise DataError(f"{path}: {printable(source.name)} holds no label, a whole number from 0 on: {text[:40]!r}.")
    return label
