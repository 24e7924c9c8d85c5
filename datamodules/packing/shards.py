"""A packed data set: standard tar shards, and an index beside them that makes any image one read. Imports no torch.

    DIR/train-000000.tar, ...         members 000000000012.jpg and 000000000012.cls, its label as text; in random order,
                                      so that neighbours are of any class
    DIR/index/train/offset.npy, ...   COLUMNS, a number an image
    DIR/dataset.json                  classes, channels, mean, deviation; the images of each split; the bytes of each
                                      file; how it was made

Any tool reads the shards, and the webdataset package as a stream. Validation has shards too where the data bring it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.errors import DataError
from lineage.datamodules.packing.remote import Place, is_remote, place_of, read_small

VERSION = 1
SPLITS = ("train", "val", "test")
COLUMNS = {
    "shard": numpy.int32,
    "offset": numpy.int64,  # bytes before the image in its shard
    "length": numpy.int32,  # of the image, in bytes
    "label": numpy.int32,
    "crc32": numpy.uint32,
    "height": numpy.int32,
    "width": numpy.int32,
}
MOST_OPEN = 512  # shards that a process keeps open; the usual limit on open files is 1,024


def shard_name(split: str, shard: int) -> str:
    return f"{split}-{shard:06d}.tar"


def index_name(split: str, column: str) -> str:
    return f"index/{split}/{column}.npy"


class Packing:
    """A packed data set, opened.

    Args:
        root: folder or URL.
        cache: the folder for what is fetched from a URL; None: in the user's cache.

    Attributes:
        facts: what dataset.json says.
        digest: of it; it holds everything that decides the bytes of the images and their order.

    Raises:
        DataError: there is none, it is damaged, or of another version.
    """

    def __init__(self, root: str, cache: str | None = None) -> None:
        text = read_small(root, "dataset.json")
        if text is None:
            place = "DIR, and copied there" if "://" in root else root
            raise DataError(
                f"{root} holds no packed data set (dataset.json). One is made of a folder of images by\n"
                f"lineage prepare datamodule=imagefolder datamodule.root=FOLDER out={place}"
            )
        damaged = DataError(f"{root}/dataset.json is damaged: pack again, or copy it again.")
        try:
            self.facts: dict[str, Any] = json.loads(text)
            version = self.facts["version"]
        except (ValueError, KeyError, TypeError):
            raise damaged from None
        if version == VERSION and not _is_whole(self.facts):
            raise damaged
        if version != VERSION:
            raise DataError(
                f"{root} is a packing of version {version}, and version {VERSION} is read here: pack again."
            )
        self.place, self.digest = place_of(root, cache, text), hashlib.blake2b(text, digest_size=16).hexdigest()

    def blobs(self, split: str) -> ShardBlobs:
        """Raises DataError: the index is not whole."""
        return ShardBlobs(self.place, split, self.facts["images"][split], self.facts)


def _is_whole(facts: Mapping[str, Any]) -> bool:
    """Whether dataset.json says all that is read of it."""
    kinds = {"classes": list, "channels": int, "mean": list, "std": list, "mirror": bool, "exif_rotation": bool}
    if not all(isinstance(facts.get(key), kind) for key, kind in {**kinds, "images": dict, "files": dict}.items()):
        return False
    return {"train", "test"} <= facts["images"].keys() <= set(SPLITS)


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """What conf/datamodule/packed.yaml leaves null, by its keys.

    Raises:
        DataError: there is no such packing, or it has not the mean and deviation of so many channels.
    """
    facts = Packing(data["root"], data["cache"]).facts
    channels = data.get("channels") or facts["channels"]
    if channels != facts["channels"] and None in (data.get("mean"), data.get("std")):
        raise DataError(
            f"datamodule.channels={channels}: {data['root']} was packed with {facts['channels']}. Give datamodule.mean "
            f"and datamodule.std of {channels}, or pack it so: lineage prepare datamodule.channels={channels}."
        )
    return {
        "num_classes": len(facts["classes"]),
        **{key: facts[key] for key in ("channels", "mean", "std", "mirror")},
        "val_size": None if "val" in facts["images"] else 0,
    }


class ShardBlobs:
    """The images of a split as encoded images (datamodules/decoding/encoded_images.py); every read is checked.

    Processes map the index, and read at given places (pread): files that were open before a fork are theirs too.
    """

    def __init__(self, place: Place, split: str, count: int, facts: Mapping[str, Any]) -> None:
        self.place, self.split, self.count, self.facts = place, split, count, facts
        self.files: Mapping[str, int] = facts["files"]
        self.columns = {column: self._column(column) for column in COLUMNS}
        self.open: dict[int, int] = {}  # file descriptors by shard
        self.renewed: set[int] = set()  # shards whose copy was damaged, and was fetched again

    def __reduce__(self) -> Any:
        return ShardBlobs, (self.place, self.split, self.count, self.facts)

    def __del__(self) -> None:
        for descriptor in getattr(self, "open", {}).values():
            os.close(descriptor)

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        shard = shard_name(self.split, int(self.columns["shard"][index]))
        return f"{self.place.folder / shard}: {index:012d}"

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        checksums = self.columns["crc32"][numpy.asarray(images)]
        return hashlib.blake2b(checksums.tobytes(), digest_size=16).hexdigest()

    def read(self, index: int) -> bytes:
        """Raises OSError: the shard is gone, cut short, or holds other bytes than were packed; DataError: it cannot be
        fetched."""
        shard, offset, length, crc32 = (int(self.columns[c][index]) for c in ("shard", "offset", "length", "crc32"))
        descriptor = self.open.get(shard)
        data = self._first_read(shard, offset, length) if descriptor is None else os.pread(descriptor, length, offset)
        if len(data) == length and zlib.crc32(data) == crc32:
            return data
        if self._renew(shard):
            return self.read(index)
        if len(data) < length:
            raise OSError(errno.EIO, "the shard is cut short")
        raise OSError(errno.EIO, "its checksum differs: the shard is damaged")

    def _renew(self, shard: int) -> bool:
        """Whether a damaged copy of a shard was fetched again; once, for the origin may be damaged too."""
        if not is_remote(self.place.root) or shard in self.renewed:
            return False
        self.renewed.add(shard)
        name, descriptor = shard_name(self.split, shard), self.open.pop(shard, None)
        try:
            stale = os.stat(self.place.folder / name if descriptor is None else descriptor).st_ino
            self.place.file(name, self.files[name], stale)
        except (OSError, DataError):
            return False
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return True

    def _first_read(self, shard: int, offset: int, length: int) -> bytes:
        name = shard_name(self.split, shard)
        path = self.place.file(name, self.files[name])
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "the shard is no regular file")
            data = os.pread(descriptor, length, offset)
            if len(self.open) < MOST_OPEN and self.open.setdefault(shard, descriptor) == descriptor:
                descriptor = -1  # it stays open
            return data
        finally:
            if descriptor != -1:
                os.close(descriptor)

    def _column(self, column: str) -> numpy.ndarray:
        name = index_name(self.split, column)
        path = self.place.folder / name
        try:
            path = self.place.file(name, self.files[name])
            values = self._loaded(column, path)
            if values is None and is_remote(self.place.root):
                values = self._loaded(column, self.place.file(name, self.files[name], stale=path.stat().st_ino))
        except (OSError, KeyError):
            values = None
        if values is None:
            raise DataError(f"{path} is missing or damaged: pack again, or copy it again.")
        return values

    def _loaded(self, column: str, path: Path) -> numpy.ndarray | None:
        """A column of the index; None if it is not what was packed."""
        try:
            values = numpy.asarray(numpy.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, EOFError, ValueError):
            return None
        if values.shape != (self.count,) or values.dtype != COLUMNS[column]:
            return None
        packed = self.facts.get("crc32", {}).get(index_name(self.split, column))
        if packed is not None and zlib.crc32(values.tobytes()) != packed:  # older packings do not say
            return None
        if column == "label" and not 0 <= values.min() <= values.max() < len(self.facts["classes"]):
            return None
        if column == "shard" and not {shard_name(self.split, s) for s in numpy.unique(values)} <= self.files.keys():
            return None
        return values
