"""Where what is found out about a folder once is kept, outside the folder: the user's cache. No torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

PATIENCE_S = 600  # longest wait for another process that finds the same; after that each finds it for itself


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "lineage"


def cache_of(folder: Path) -> Path:
    """The place of an absolute folder's."""
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(folder.parts[-2:])).strip("-")[-60:]
    return cache_folder() / f"{words}-{hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()}"


@contextmanager
def alone(cache: Path) -> Iterator[bool]:
    """Of several processes one at a time; gives whether the cache can be written."""
    lock = None
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{cache}.lock")
        lock.acquire(timeout=PATIENCE_S)
    except (OSError, NotImplementedError, Timeout):
        lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def keep(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """A whole file or none: on a full disk, or where nothing can be written, it is found anew the next time."""
    unfinished = file.with_name(f"{file.name}.part-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as opened:
            write(opened)
            os.fsync(opened.fileno())
        unfinished.replace(file)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
