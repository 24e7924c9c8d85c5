"""Walking a folder that has one folder for each class: the images' paths, labels and classes. No torch.

Names are bytes, as in the file system: they need not be UTF-8.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy

from lineage.datamodules.errors import DataError
from lineage.files import reason

ENDINGS = set(b".jpg .jpeg .jpe .jfif .png .webp .bmp .ppm .pgm .gif .tif .tiff".split())
# Added by macOS, Synology, Windows and Linux; the names of others begin with a dot.
SYSTEM_FOLDERS = {b"__macosx", b"@eadir", b"system volume information", b"$recycle.bin", b"lost+found"}
THUMBNAILS = {b"thumbs", b"thumbnails"}  # no classes if they hold no image
MOST_STRAY = 100  # images beside class folders; a folder of more is a class
# A folder that changed less than 0.1 s before it was read may change again and keep its modification time: the clocks
# of file systems are coarse.
TICK_NS = 100_000_000


@dataclass
class Scan:
    """The result of a walk.

    Attributes:
        classes: in the order of their labels, sorted by their names as bytes.
        images: their paths, relative to the folder.
        labels: of the images.
        modified: when each folder was last changed, in ns; 0 if it was too recent to notice a next change.
        others: the number of other files, by their ending.
    """

    classes: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    modified: dict[str, int] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    def arrays(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """Joined paths uint8, offsets int64, labels int32; image i's path is paths[offsets[i] : offsets[i + 1]]."""
        offsets = numpy.cumsum([0, *map(len, self.images)])
        return numpy.frombuffer(b"".join(self.images), numpy.uint8), offsets, numpy.array(self.labels, numpy.int32)


def scan(folder: Path) -> Scan:
    """Walk a folder of class folders, and all folders below these. Raises DataError: there is no class folder, images
    lie beside the class folders, or a folder cannot be read.

    Symbolic links are followed. Within a class each folder is read once, so loops of links end. Hidden files and
    folders are left out.
    """
    root, result = os.fsencode(folder), Scan()
    images, classes = _entries(root, b"", result)
    if images:
        some = f"{len(images):,} images beside its class folders ({listed(images)})"
        raise DataError(f"{printable(folder)} holds {some}: each belongs in the folder of its class.")
    if not classes:
        raise DataError(f"{printable(folder)} holds no class folder: it needs a folder of images for each class.")
    for name in classes:
        own = _images_of_class(root, name, result)
        if own or name.lower() not in THUMBNAILS:
            result.labels += [len(result.classes)] * len(own)
            result.classes.append(os.fsdecode(name))
            result.images += own
    return result


def files_of(folder: Path) -> list[bytes]:
    """The sorted names of the images directly in a folder. Raises DataError: it cannot be read."""
    return _entries(os.fsencode(folder), b"", Scan())[0]


def images_below(folder: Path) -> list[bytes]:
    """The sorted paths of all images below a folder, which they begin with. Raises DataError: it cannot be read."""
    parent, name = os.path.split(os.fsencode(os.path.abspath(folder)))
    return [os.path.join(os.fsencode(folder), path[len(name) + 1 :]) for path in _images_of_class(parent, name, Scan())]


def folders_of(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, without hidden ones. Raises DataError: it cannot be read."""
    return [os.fsdecode(name) for name in _entries(os.fsencode(folder), b"", Scan())[1]]


def class_folders(folder: Path) -> list[str]:
    """As folders_of; none if the folder itself holds many images."""
    images, folders = _entries(os.fsencode(folder), b"", Scan())
    return [] if len(images) > MOST_STRAY else [os.fsdecode(name) for name in folders]


def other_files(folder: Path, name: str) -> Counter[str]:
    """The number of files that are no images below a class folder, by their ending."""
    result = Scan()
    _images_of_class(os.fsencode(folder), os.fsencode(name), result)
    return result.others


def printable(name: bytes | str | Path) -> str:
    """A name on one line: bytes that are not UTF-8, and control characters, become escapes such as \\xff."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return re.sub(r"[\0-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def listed(names: Iterable[bytes | str]) -> str:
    """The first five names, and how many there are."""
    all_names = list(map(printable, names))
    return ", ".join(all_names[:5]) + (f", ... ({len(all_names):,} in all)" if len(all_names) > 5 else "")


def _images_of_class(root: bytes, name: bytes, result: Scan) -> list[bytes]:
    visited, images, folders = {os.path.realpath(root)}, list[bytes](), [name]
    while folders:
        folder = folders.pop()
        place = os.path.realpath(os.path.join(root, folder))
        if place not in visited:
            visited.add(place)
            here, below = _entries(root, folder + b"/", result)
            images += here
            folders += below
    return sorted(images)


def _entries(root: bytes, folder: bytes, result: Scan) -> tuple[list[bytes], list[bytes]]:
    """The images and the folders in a folder, sorted, as paths relative to root. Other files are counted."""
    place, images, folders = os.path.join(root, folder), [], []
    try:
        changed = os.stat(place).st_mtime_ns
        result.modified[os.fsdecode(folder)] = changed if changed < time.time_ns() - TICK_NS else 0
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                ending = name[name.rfind(b".") :].lower()
                if name.startswith(b".") or name.lower() in SYSTEM_FOLDERS:
                    continue
                if ending in ENDINGS and not _is(entry.is_dir):  # broken links too: an error is raised on reading
                    images.append(folder + name)
                elif _is(entry.is_dir):
                    folders.append(folder + name)
                elif _is(entry.is_file):
                    result.others[printable(ending if b"." in name else b"")] += 1
    except OSError as error:
        raise DataError(f"{printable(place)}: {reason(error).lower()}.") from None
    return sorted(images), sorted(folders)


def _is(kind) -> bool:
    """Whether an entry is of a kind."""
    try:
        return kind()
    except OSError:  # a link to itself
        return False
