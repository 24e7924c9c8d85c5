"""The images in a folder of one folder a class: their paths, labels and classes, found by walking it. No torch.

Names are bytes, as the system has them: they need not be UTF-8.
"""

from __future__ import annotations

import os
import re
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy

from lineage.datamodules.errors import DataError

ENDINGS = {b".jpeg", b".jpg", b".png", b".webp", b".bmp", b".ppm", b".pgm", b".gif", b".tif", b".tiff"}
OF_SYSTEMS = {b"__macosx", b"@eadir"}  # folders that macOS and Synology add; those of others begin with a dot
# A folder changed less than this before it was read may change again and keep its time: clocks of file systems tick.
TICK_NS = 100_000_000


@dataclass
class Scan:
    """What a walk found.

    Attributes:
        classes: in the order of their labels, that of their names as bytes.
        paths: of the images, below the folder, one after the other; image i's is paths[offsets[i] : offsets[i + 1]].
        labels: of the images.
        stamps: when each folder that was read was last changed, in ns; 0 where the next change may not be told from it.
        others: the number of files of each ending that is not an image's.
    """

    classes: list[str] = field(default_factory=list)
    paths: bytearray = field(default_factory=bytearray)
    offsets: array[int] = field(default_factory=lambda: array("q", [0]))
    labels: array[int] = field(default_factory=lambda: array("i"))
    stamps: dict[str, int] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    def add(self, images: list[bytes], label: int) -> None:
        for path in images:
            self.paths += path
            self.offsets.append(len(self.paths))
        self.labels.extend([label] * len(images))

    def arrays(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """paths uint8, offsets int64, labels int32."""
        paths = numpy.frombuffer(self.paths, numpy.uint8)
        return paths, numpy.array(self.offsets, numpy.int64), numpy.array(self.labels, numpy.int32)


def scan(folder: Path) -> Scan:
    """Walk a folder of class folders, and what is below these.

    Symbolic links are followed; of a class each folder is read once, so loops of links end. Hidden ones are left out.

    Raises:
        DataError: there is no class folder; images lie beside them; a folder cannot be read.
    """
    root, found = os.fsencode(folder), Scan()
    images, classes = _entries(root, b"", found)
    if images:
        some = ", ".join(map(printable, images[:2])) + (", ..." if len(images) > 2 else "")
        raise DataError(
            f"{printable(folder)} holds {len(images):,} images beside its class folders ({some}): "
            "each belongs in the folder of its class."
        )
    if not classes:
        raise DataError(f"{printable(folder)} holds no class folder: it needs a folder of images for each class.")
    for label, name in enumerate(classes):
        found.classes.append(os.fsdecode(name))
        found.add(_of_class(root, name, found), label)
    return found


def files_of(folder: Path) -> list[bytes]:
    """The sorted names of the images directly in a folder. Raises DataError: it cannot be read."""
    return _entries(os.fsencode(folder), b"", Scan())[0]


def folders_of(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, but for hidden ones. Raises DataError: it cannot be read."""
    return [os.fsdecode(name) for name in _entries(os.fsencode(folder), b"", Scan())[1]]


def printable(name: bytes | str | Path) -> str:
    """A name as it can be printed in a line: a byte that is no UTF-8 is written \\xff, as is an end of line."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return re.sub(r"[\0-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def _of_class(root: bytes, name: bytes, found: Scan) -> list[bytes]:
    seen, images, waiting = {_identity(root)}, list[bytes](), [name]
    while waiting:
        folder = waiting.pop()
        identity = _identity(os.path.join(root, folder))
        if identity in seen:
            continue
        seen.add(identity)
        here, below = _entries(root, folder + b"/", found)
        images += here
        waiting += below
    return sorted(images)


def _identity(folder: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:  # reading it says why
        return None
    return status.st_dev, status.st_ino


def _entries(root: bytes, folder: bytes, found: Scan) -> tuple[list[bytes], list[bytes]]:
    """The images and the folders in a folder, sorted, as paths below root; the rest is counted."""
    place, images, folders = os.path.join(root, folder), [], []
    try:
        changed = os.stat(place).st_mtime_ns
        found.stamps[os.fsdecode(folder)] = changed if changed < time.time_ns() - TICK_NS else 0
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                ending = name[name.rfind(b".") :].lower()
                if name.startswith(b".") or name.lower() in OF_SYSTEMS:
                    continue
                if ending in ENDINGS and not _is(
                    entry.is_dir
                ):  # a link to nothing and a pipe too: reading them says so
                    images.append(folder + name)
                elif _is(entry.is_dir):
                    folders.append(folder + name)
                elif _is(entry.is_file):
                    found.others[printable(ending if b"." in name else b"")] += 1
    except OSError as error:
        raise DataError(f"{printable(place)}: {(error.strerror or str(error)).lower()}.") from None
    return sorted(images), sorted(folders)


def _is(kind) -> bool:
    """Whether an entry is of a kind; a link that leads to itself is of none."""
    try:
        return kind()
    except OSError:
        return False
