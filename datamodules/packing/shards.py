"""A packed data set: standard tar shards, and an index beside them that makes any image one read. Imports no torch.

    DIR/train-000000.tar, ...         members 000000000012.jpg and 000000000012.cls, its label as text; in random order,
                                      so that neighbours have unrelated classes
    DIR/index/train/offset.npy, ...   COLUMNS, one number an image
    DIR/dataset.json                  classes, channels, mean, deviation; the images of each split; the bytes of each
                                      file; how it was made

Any tool reads the shards, and the webdataset package as a stream. Validation has shards too if the source has such
images. Tars that others packed have no dataset.json and are read by webdataset.py.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy

from lineage.datamodules.discovery import statistics
from lineage.datamodules.discovery.user_cache import cache_folder
from lineage.datamodules.errors import DataError
from lineage.datamodules.packing.blobs import ShardBlobs
from lineage.datamodules.packing.remote import is_remote, location, read_small
from lineage.datamodules.packing.webdataset import open_tars
from lineage.datamodules.split import Split

VERSION = 1
DESCRIPTION = "dataset.json"
SPLITS = ("train", "val", "test")
FACTS = {  # what dataset.json must have to be read
    **{"classes": list, "channels": int, "mean": list, "std": list, "mirror": bool, "exif_rotation": bool},
    **{"images": dict, "files": dict, "crc32": dict},
}
COLUMNS = {
    "shard": numpy.int32,
    "offset": numpy.int64,  # bytes before the image in its shard
    "length": numpy.int32,  # of the image, in bytes
    "label": numpy.int32,
    "crc32": numpy.uint32,
    "height": numpy.int32,
    "width": numpy.int32,
}


def shard_name(split: str, shard: int) -> str:
    return f"{split}-{shard:06d}.tar"


def index_name(split: str, column: str) -> str:
    return f"index/{split}/{column}.npy"


def open_splits(root: str, cache: str | None) -> dict[str, Split]:
    """The splits of a packing or of tars that others packed, `train` first. Raises DataError."""
    if not is_packing(root):
        return open_tars(root)
    packing = Packing(root, cache)
    return {name: packing.split(name) for name in SPLITS if name in packing.facts["images"]}


def is_packing(root: str) -> bool:
    """Whether it was made by lineage prepare. Raises DataError: the URL cannot be read, or has no dataset.json."""
    found = read_small(root, DESCRIPTION) is not None
    if not found and is_remote(root):
        raise DataError(f"{root} holds no packed data: no dataset.json. Tars of other tools need a folder.")
    return found


def infer_missing(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values that conf/datamodule/packed.yaml leaves null, except exif_rotation; those in `data` take precedence.
    Raises DataError: nothing is packed there, or without the mean and deviation of so many channels."""
    root, cache, channels = data["root"], data["cache"], data.get("channels")
    if not is_packing(root):
        given = {"channels": channels, "exif_rotation": data.get("exif_rotation") is not False, "resolution": None}
        found = statistics.infer_missing(open_tars(root), given)
        return {**found, "resolution": None, "mirror": True}
    facts = Packing(root, cache).facts
    if channels not in (None, facts["channels"]) and None in (data.get("mean"), data.get("std")):
        raise DataError(
            f"datamodule.channels={channels}: {root} was packed with {facts['channels']}. Give datamodule.mean "
            f"and datamodule.std of {channels}, or pack it so: lineage prepare datamodule.channels={channels}."
        )
    return {
        "num_classes": len(facts["classes"]),
        **{key: facts[key] for key in ("channels", "mean", "std", "mirror")},
        "val_size": None if "val" in facts["images"] else 0,
    }


def packed_exif_rotation(root: str, cache: str | None) -> bool:
    """Whether the images of a packing are rotated by EXIF. Those of other tars are, by default."""
    return not is_packing(root) or Packing(root, cache).facts["exif_rotation"]


class Packing:
    """A packed data set, opened. Raises DataError: there is none, it is damaged, unfinished, or of another version.

    Args:
        root: folder or URL.
        cache: the folder for what is fetched from a URL; None: in the user's cache.

    Attributes:
        facts: the content of dataset.json.
        digest: of dataset.json, which holds everything that decides the bytes of the images and their order.
    """

    def __init__(self, root: str, cache: str | None = None) -> None:
        text, file = read_small(root, DESCRIPTION) or b"", f"{root.rstrip('/')}/{DESCRIPTION}"
        try:
            facts: dict[str, Any] = json.loads(text)
            whole = facts["version"] == VERSION and all(isinstance(facts[key], kind) for key, kind in FACTS.items())
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise DataError(f"{file} is damaged, unfinished or not of version {VERSION}: pack again, or copy it again.")
        self.facts = facts
        self.root, self.place = root, location(root, cache, text)
        self.digest = hashlib.blake2b(text, digest_size=16).hexdigest()

    def split(self, name: str) -> Split:
        """Raises DataError: the index is not whole."""
        blobs = self.blobs(name)
        labels = blobs.columns["label"].astype(numpy.int64)
        split_name, classes = f"{self.root} ({name})", self.facts["classes"]
        return Split(split_name, blobs, labels, classes, self.digest, cache_folder() / self.digest, blobs.stamp)

    def blobs(self, split: str) -> ShardBlobs:
        """Raises DataError: the index is not whole."""
        shards = dict[str, int]()
        while (name := shard_name(split, len(shards))) in self.facts["files"]:
            shards[name] = self.facts["files"][name]
        return ShardBlobs(self.place, shards, {column: self._column(split, column) for column in COLUMNS})

    def _column(self, split: str, column: str) -> numpy.ndarray:
        name = index_name(split, column)
        path = self.place.folder / name
        with suppress(OSError, EOFError, ValueError, KeyError):
            values = numpy.load(self.place.file(name, self.facts["files"][name]), mmap_mode="r")
            if zlib.crc32(values.tobytes()) == self.facts["crc32"][name]:
                return numpy.asarray(values)
        raise DataError(f"{path} is missing or damaged: delete it and copy it again, or pack again.")
