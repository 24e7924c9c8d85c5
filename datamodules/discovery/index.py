"""The index of a folder of images: paths, labels and classes, scanned once and kept in the user's cache. No torch.

A million paths take 40 MB. It is valid until one of the folders that it was made of changes.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from lineage.datamodules.discovery.scanning import Scan, printable, scan
from lineage.datamodules.discovery.user_cache import cache_folder, cache_path, locked, read_arrays, store_arrays
from lineage.datamodules.errors import DataError

COLUMNS = ("paths", "offsets", "labels")  # arrays of an index


@dataclass(frozen=True, eq=False)
class Index:
    """The images of a folder, as encoded images (Blobs).

    Attributes:
        folder: absolute.
        paths, offsets: uint8 and int64; image i's path, relative to the folder, is paths[offsets[i] : offsets[i + 1]].
        labels: (N,) int32.
        classes: their names.
        others: the number of other files, by their ending.
        digest: of all this except the folder's place.
        cache: the folder that keeps the index and other results; None if it cannot be written.
    """

    folder: Path
    paths: numpy.ndarray
    offsets: numpy.ndarray
    labels: numpy.ndarray
    classes: list[str]
    others: dict[str, int]
    digest: str
    cache: Path | None

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, image: int) -> bytes:
        start, end = self.offsets[image], self.offsets[image + 1]
        return os.path.join(os.fsencode(self.folder), self.paths[start:end].tobytes())

    def name(self, image: int) -> str:
        return printable(self.path(image))

    def read(self, image: int) -> bytes:
        """Raises OSError: it cannot be read, or is no longer a regular file."""
        return read_regular_file(self.path(image))

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """A digest of the files' sizes and, with `dates`, modification times, which a copy of the folder may change.

        It tells that a file was replaced under the same name, which does not change the folder's modification time.
        """
        digest = hashlib.blake2b(digest_size=16)
        top, paths = os.fsencode(self.folder) + b"/", self.paths.tobytes()
        numbers = numpy.asarray(images)
        starts, ends = (self.offsets[numbers + i].tolist() for i in (0, 1))
        for start, end in zip(starts, ends, strict=True):
            try:
                status = os.stat(top + paths[start:end])
                digest.update(b"%d %d " % (status.st_size, status.st_mtime_ns if dates else 0))
            except OSError:
                digest.update(b"gone ")
        return digest.hexdigest()

    def notes(self) -> list[str]:
        """Sentences about these files that the user should read."""
        notes, place = [], printable(self.folder)
        if self.others:
            others = (f"{count:,} {ending or 'without an ending'}" for ending, count in sorted(self.others.items()))
            notes.append(f"files in {place} that are not images by their endings: {', '.join(others)}")
        folded: dict[str, str] = {}
        for name in self.classes:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                alike = f"{printable(other)} and {printable(name)}"
                notes.append(f"{alike} in {place} differ in case only, and are two classes")
        if self.cache is None:
            notes.append(f"{cache_folder()} cannot be written: every run scans {place} again")
        return notes


def read_regular_file(path: bytes | str, most: int = -1) -> bytes:
    """Read a file, or its first `most` bytes, without waiting if it is a pipe. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file, "rb", buffering=0) as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return opened.read(most)


def open_index(folder: Path) -> Index:
    """The index of a folder of class folders: from the cache, or scanned again if the folder has changed. Raises
    DataError: the folder does not exist, or has no class folders."""
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise DataError(f"{printable(folder)} is not a folder.")
    cache = cache_path(folder)
    with locked(cache) as writable:
        index = _read(folder, cache)
        return _make(folder, cache if writable else None) if index is None else index


def index_files(folder: Path, names: list[bytes], classes: list[str], class_of_each: list[str]) -> Index:
    """The index of images directly in a folder, whose classes are given. It is not cached."""
    arrays = Scan(classes, names, [classes.index(name) for name in class_of_each]).arrays()
    return Index(folder, *arrays, classes, {}, _digest(arrays, classes), None)


def _make(folder: Path, cache: Path | None) -> Index:
    result = scan(folder)
    arrays, others = result.arrays(), dict(result.others)
    index = Index(folder, *arrays, result.classes, others, _digest(arrays, result.classes), cache)
    facts = {"classes": index.classes, "others": others, "digest": index.digest, "modified": result.modified}
    columns = dict(zip(COLUMNS, arrays, strict=True))
    kept = cache is not None and store_arrays(cache / "index.npz", facts, columns)
    return index if kept else replace(index, cache=None)


def _read(folder: Path, cache: Path) -> Index | None:
    """The index in the cache; None if there is none, it is damaged, or a folder has changed."""
    facts, columns = read_arrays(cache / "index.npz")
    try:
        if not facts or any(os.stat(folder / name).st_mtime_ns != time for name, time in facts["modified"].items()):
            return None
    except OSError:  # a folder is gone
        return None
    paths, offsets, labels = (columns[name] for name in COLUMNS)
    return Index(folder, paths, offsets, labels, facts["classes"], facts["others"], facts["digest"], cache)


def _digest(arrays: tuple[numpy.ndarray, ...], classes: list[str]) -> str:
    digest = hashlib.blake2b(json.dumps(classes).encode(), digest_size=16)
    for values in arrays:
        digest.update(numpy.ascontiguousarray(values).data)
    return digest.hexdigest()
