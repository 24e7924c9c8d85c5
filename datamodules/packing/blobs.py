"""Encoded images in tars, read one by one at their places. Imports no torch."""

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.packing.remote import Place

MOST_OPEN = 512  # shards that a process keeps open; the usual limit on open files is 1,024


class ShardBlobs:
    """The images of a split as encoded images (datamodules/split.py).

    Processes read at given offsets (pread), so a file that was open before a fork serves the child too.

    Args:
        place: where the shards lie.
        shards: their names and sizes in bytes.
        columns: arrays of one value an image: shard, offset, length and label; crc32, which is checked if it is
            given; name, of the member of the tar.
    """

    def __init__(self, place: Place, shards: Mapping[str, int], columns: Mapping[str, numpy.ndarray]) -> None:
        self.place, self.shards, self.columns = place, list(shards.items()), columns
        self.open: dict[int, int] = {}  # file descriptors by shard

    def __reduce__(self) -> Any:
        return ShardBlobs, (self.place, dict(self.shards), self.columns)

    def __del__(self) -> None:
        for descriptor in getattr(self, "open", {}).values():
            os.close(descriptor)

    def __len__(self) -> int:
        return len(self.columns["label"])

    def name(self, index: int) -> str:
        shard, _ = self.shards[self.columns["shard"][index]]
        names = self.columns.get("name")
        member = f"{index:012d}" if names is None else printable(bytes(names[index]))
        return f"{self.place.folder / shard}: {member}"

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """A digest of the checksums of some images, or of their lengths where there are no checksums."""
        values = self.columns.get("crc32", self.columns["length"])[numpy.asarray(images)]
        return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()

    def read(self, index: int) -> bytes:
        """Raises OSError: the shard is gone, cut short or damaged; DataError: it cannot be fetched."""
        shard, offset, length = (int(self.columns[column][index]) for column in ("shard", "offset", "length"))
        data = os.pread(self._descriptor(shard), length, offset)
        if len(data) < length:
            raise OSError(errno.EIO, "the shard is cut short")
        if "crc32" in self.columns and zlib.crc32(data) != self.columns["crc32"][index]:
            raise OSError(errno.EIO, "its checksum differs: the shard is damaged")
        return data

    def _descriptor(self, shard: int) -> int:
        if shard not in self.open:
            path = self.place.file(*self.shards[shard])
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would wait
                os.close(descriptor)
                raise OSError(errno.EINVAL, "the shard is no regular file")
            if len(self.open) == MOST_OPEN:
                os.close(self.open.pop(next(iter(self.open))))  # the one opened first
            self.open[shard] = descriptor
        return self.open[shard]
