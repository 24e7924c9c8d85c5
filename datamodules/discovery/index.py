"""The index of a folder of images: paths, labels and classes, found once and kept in the user's cache. No torch.

The arrays are files that processes map, so that ranks and workers share one copy; a million paths are 40 MB. An index
is good as long as no folder that it was made of has changed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.discovery.scanning import Scan, printable, scan
from lineage.datamodules.discovery.user_cache import alone, cache_folder, cache_of
from lineage.datamodules.errors import DataError

ARRAYS = ("paths", "offsets", "labels")


@dataclass(frozen=True, eq=False)
class Index:
    """The images of a folder.

    Attributes:
        folder: absolute.
        paths, offsets: uint8 and int64; image i's path, relative to the folder, is paths[offsets[i] : offsets[i + 1]].
        labels: (N,) int32.
        classes: their names.
        others: the number of files of each ending that is not an image's.
        digest: of all that, without the folder's place.
        cache: the folder that keeps the index and what is found out later; None: it cannot be written.
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

    def __reduce__(self) -> Any:
        """For another process the name of the cache, which it maps too, instead of the arrays."""
        if self.cache is not None:
            return _open_again, (self.cache, self.digest)
        return Index, tuple(getattr(self, name) for name in self.__dataclass_fields__)

    def path(self, image: int) -> bytes:
        start, end = self.offsets[image], self.offsets[image + 1]
        return os.path.join(os.fsencode(self.folder), self.paths[start:end].tobytes())

    def counts(self) -> numpy.ndarray:
        """(classes,) int64, the number of images of each class."""
        return numpy.bincount(self.labels, minlength=len(self.classes))

    def notes(self) -> list[str]:
        """What the user should know about these files."""
        notes = []
        if self.others:
            others = ", ".join(f"{count:,} {ending or 'without'}" for ending, count in sorted(self.others.items()))
            notes.append(f"not read in {printable(self.folder)}, by their endings: {others}")
        folded: dict[str, str] = {}
        for name in self.classes:
            if folded.setdefault(name.casefold(), name) != name:
                alike = f"{printable(folded[name.casefold()])} and {printable(name)}"
                notes.append(f"{alike} in {printable(self.folder)} differ in case only, and are two classes")
        if self.cache is None:
            notes.append(
                f"{cache_folder()} cannot be written: {printable(self.folder)} is looked through anew in every run"
            )
        return notes


class FileBlobs:
    """The files of an index as encoded images (datamodules/decoding/encoded_images.py)."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def name(self, index: int) -> str:
        return printable(self.index.path(index))

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """Of some of the files, another one once one was replaced by one of its name, which no folder's time tells.

        dates: whether by an equally large one too; a copy of the folder may then have another stamp.
        """
        state = hashlib.blake2b(digest_size=16)
        top, paths = os.fsencode(self.index.folder) + b"/", self.index.paths.tobytes()
        places = numpy.asarray(images)
        starts, ends = (self.index.offsets[places + i].tolist() for i in (0, 1))
        for start, end in zip(starts, ends, strict=True):
            try:
                status = os.stat(top + paths[start:end])
                state.update(b"%d %d " % (status.st_size, status.st_mtime_ns if dates else 0))
            except OSError:
                state.update(b"gone ")
        return state.hexdigest()

    def read(self, index: int) -> bytes:
        """Raises OSError: it is gone, cannot be read, or has become something else than a file (a pipe would wait)."""
        file = os.open(self.index.path(index), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, "rb", buffering=0) as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            return opened.read()


def open_index(folder: Path) -> Index:
    """The index of a folder of class folders, made if there is none in the cache or the folder has changed since.

    Raises:
        DataError: there is no such folder, or none of classes in it.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise DataError(f"{printable(folder)} is not a folder.")
    cache = cache_of(folder)
    with alone(cache) as can_write:
        index = _read(cache)
        if index is None:
            index = _made(folder, cache if can_write else None)
    return index


def index_of(folder: Path, names: list[bytes], classes: list[str], of_each: list[str]) -> Index:
    """The index of images directly in a folder, whose classes somebody says; it is made anew every time."""
    found = Scan(classes=classes)
    for name, label in zip(names, of_each, strict=True):
        found.add([name], classes.index(label))
    arrays = found.arrays()
    return Index(folder, *arrays, classes, {}, _digest(arrays, classes), None)


def _made(folder: Path, cache: Path | None) -> Index:
    found = scan(folder)
    arrays = found.arrays()
    facts = {"folder": str(folder), "classes": found.classes, "others": dict(found.others)}
    digest = _digest(arrays, found.classes)
    if cache is not None:
        try:
            _write(cache, arrays, {**facts, "digest": digest, "stamps": found.stamps})
        except OSError:
            cache = None
    return Index(folder, *arrays, found.classes, dict(found.others), digest, cache)


def _write(cache: Path, arrays: tuple[numpy.ndarray, ...], facts: dict[str, Any]) -> None:
    """A whole folder or none."""
    for part in cache.parent.glob(f"{cache.name}.part-*"):  # of a process that was killed
        shutil.rmtree(part, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{cache.name}.part-", dir=cache.parent))
    try:
        for name, values in zip(ARRAYS, arrays, strict=True):
            numpy.save(part / f"{name}.npy", values)
        (part / "index.json").write_text(json.dumps(facts))
        shutil.rmtree(cache, ignore_errors=True)
        part.rename(cache)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _read(cache: Path, check: bool = True) -> Index | None:
    """An index from the cache; None if there is none, if it is damaged or, to be checked, a folder has changed."""
    try:
        facts = json.loads((cache / "index.json").read_text())
        arrays = [numpy.load(cache / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS]
        paths, offsets, labels = (numpy.asarray(values) for values in arrays)
        folder, classes, digest = Path(facts["folder"]), list(facts["classes"]), str(facts["digest"])
        if check and not (
            _is_unchanged(folder, facts["stamps"]) and _digest((paths, offsets, labels), classes) == digest
        ):
            return None
        return Index(folder, paths, offsets, labels, classes, dict(facts["others"]), digest, cache)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _open_again(cache: Path, digest: str) -> Index:
    index = _read(cache, check=False)
    if index is None or index.digest != digest:
        raise DataError(f"{cache} was changed while a run read it: the same command goes on.")
    return index


def _is_unchanged(folder: Path, stamps: dict[str, int]) -> bool:
    return all(os.stat(folder / place).st_mtime_ns == stamp for place, stamp in stamps.items())


def _digest(arrays: tuple[numpy.ndarray, ...], classes: list[str]) -> str:
    digest = hashlib.blake2b(json.dumps(classes).encode(), digest_size=16)
    for values in arrays:
        digest.update(numpy.ascontiguousarray(values).data)
    return digest.hexdigest()
