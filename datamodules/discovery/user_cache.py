"""The user's cache: results about folders of images that are computed once, kept outside these folders. No torch."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy
from filelock import FileLock, Timeout

from lineage.files import replacing

MAX_WAIT_S = 600  # for another process that does the same work; after that each does it for itself


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "lineage"


def cache_path(folder: Path) -> Path:
    """The cache's folder for an absolute folder."""
    return cache_folder() / entry("-".join(folder.parts[-2:]), os.fsencode(folder))


def entry(words: str, key: bytes) -> str:
    """A name in the cache: words for the reader, and a digest of what it is for."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", words).strip("-")[-60:]
    return f"{readable}-{hashlib.blake2b(key, digest_size=8).hexdigest()}"


@contextmanager
def locked(cache: Path) -> Iterator[bool]:
    """One process at a time works on a folder of the cache. Yields whether the cache can be written."""
    with ExitStack() as stack:
        writable = False
        with suppress(OSError, NotImplementedError, Timeout):
            cache.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{cache}.lock", timeout=MAX_WAIT_S))
            writable = True
        yield writable


def store(file: Path, write: Callable[[IO[bytes]], Any]) -> bool:
    """Write a file whole, or not at all if the disk is full or read-only. Returns whether it was written."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as opened:
            write(opened)
        return True
    return False


def store_arrays(file: Path, facts: Any, arrays: Mapping[str, numpy.ndarray]) -> bool:
    """Arrays and what is known about them, as JSON; see `store`."""
    text = numpy.frombuffer(json.dumps(facts).encode(), numpy.uint8)
    return store(file, lambda opened: numpy.savez(opened, facts=text, **arrays))  # type: ignore[arg-type]


def read_arrays(file: Path) -> tuple[Any, dict[str, numpy.ndarray]]:
    """What store_arrays wrote: the facts and the arrays; (None, {}) if it is missing or damaged, by its checksums."""
    try:
        with open(file, "rb") as opened, numpy.load(opened, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        return json.loads(arrays.pop("facts").tobytes()), arrays
    except Exception:  # numpy's and zipfile's readers raise whatever their input provokes
        return None, {}
