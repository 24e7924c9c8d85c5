"""Writes the files of a packed data set (datamodules/packing/shards.py). No torch."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy

from lineage.datamodules.errors import DataError


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that is there whole, and on the disk, or not at all. Raises DataError: it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}). Make room, or choose another out=DIR; "
            "the same command goes on."
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def open_shard(path: Path) -> Iterator[tarfile.TarFile]:
    """A new shard, in POSIX's own format (ustar). Raises DataError: it cannot be written."""
    with written_whole(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        yield tar


def add_image(tar: tarfile.TarFile, number: int, ending: str, image: bytes, label: int) -> int:
    """Add an image and its label, of no time or owner: the same images are the same bytes.

    Returns:
        The bytes before the image in the shard.
    """
    offset = tar.offset + tarfile.BLOCKSIZE  # a header of ustar is one block
    for name, data in ((f"{number:012d}.{ending}", image), (f"{number:012d}.cls", str(label).encode())):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, BytesIO(data))
    return offset


def is_intact(path: Path, columns: Mapping[str, numpy.ndarray]) -> bool:
    """Whether a shard holds what its part of the index says."""
    rows = zip(*(columns[column].tolist() for column in ("offset", "length", "crc32")), strict=True)
    try:
        with open(path, "rb") as file:
            for offset, length, crc32 in rows:
                file.seek(offset)
                if zlib.crc32(file.read(length)) != crc32:
                    return False
    except OSError:
        return False
    return True
