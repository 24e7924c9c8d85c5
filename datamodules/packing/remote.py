"""Where packed data lie: a folder, or a URL that fsspec reads, whose files are fetched when first read. No torch."""

import errno
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from lineage.datamodules.discovery.index import read_regular_file
from lineage.datamodules.discovery.user_cache import cache_folder, entry
from lineage.datamodules.errors import DataError
from lineage.files import cannot_write, reason, replacing

MOST_BYTES, MOST_S = 2**24, 60  # limits of a description or a list of names
REPORT_EVERY_S = 30  # between two reports of progress
PAUSES_S = (1, 5, 25)  # before a fetch is tried again: a week of training survives a short failure of the network
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HTTP = ("http://", "https://")
VERSION_KEYS = ("mtime", "LastModified", "last_modified", "ETag", "etag")  # one of them changes with a file


@dataclass(frozen=True)
class Place:
    """Files under a root, by their names below it.

    Attributes:
        root: a folder, or a URL: s3://bucket/folder.
        folder: the same folder, or the one that keeps what was fetched from the URL.
    """

    root: str
    folder: Path

    def file(self, name: str, size: int, stale: int | None = None) -> Path:
        """The local file. One process fetches it whole from a URL if it is not there, while others wait.

        Args:
            size: in bytes.
            stale: the inode of a damaged copy, which is fetched again unless another process has done so.

        Raises:
            DataError: it cannot be fetched, has another size, or there is no room for it.
        """
        path = self.folder / name
        if is_remote(self.root) and not _is_whole(path, size, stale):
            _fetch(f"{self.root.rstrip('/')}/{name}", path, size, stale)
        return path


def is_remote(root: str) -> bool:
    return "://" in root


def location(root: str, cache: str | None, version: bytes) -> Place:
    """The place of a root.

    Args:
        cache: the folder for what is fetched; None: in the user's cache.
        version: what identifies the files; other files at the same URL are cached elsewhere.
    """
    if not is_remote(root):
        return Place(root, Path(root))
    kept = Path(cache) if cache else cache_folder()
    return Place(root, kept / entry(root.partition("://")[2], root.encode() + version))


def read_small(root: str, name: str) -> bytes | None:
    """A file's content; None if there is no such file. Raises DataError: it cannot be read, or is not small."""
    import fsspec

    try:
        if not is_remote(root):
            content = read_regular_file(os.path.join(root, name), MOST_BYTES + 1)
        else:
            url, content = f"{root.rstrip('/')}/{name}", b""
            with fsspec.open(url, "rb", **_timeouts(url, MOST_S)) as file:
                while len(content) <= MOST_BYTES and (part := file.read(MOST_BYTES + 1 - len(content))):
                    content += part
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        return content
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.__cause__ is None or isinstance(error.__cause__, FileNotFoundError):
            return None
        raise DataError(f"{root}/{name} cannot be read ({reason(error.__cause__)}).") from None  # no answer
    except Exception as error:  # each protocol's package raises its own
        why = f"it has not come in {MOST_S} s" if isinstance(error, TimeoutError) else reason(error)
        raise DataError(f"{root}/{name} cannot be read ({why}).") from None


def list_tars(root: str) -> dict[str, tuple[int, str]]:
    """The tars in a folder or URL and its subfolders: by name, size in bytes and what changes with the content.

    Raises:
        DataError: the URL cannot be read.
    """
    if is_remote(root):
        return _list_remote(root)
    paths = [*Path(root).glob("[!.]*.tar"), *Path(root).glob("[!.]*/[!.]*.tar")]
    found = {str(path.relative_to(root)): path.stat() for path in sorted(paths) if path.is_file()}
    return {name: (status.st_size, str(status.st_mtime_ns)) for name, status in found.items()}


@cache
def _list_remote(root: str) -> dict[str, tuple[int, str]]:
    import fsspec

    if root.startswith(HTTP):
        read_small(root, "")  # limits the size of the page that lists the files
    try:
        system, path = fsspec.core.url_to_fs(root)
        return {
            name.removeprefix(path).lstrip("/"): (int(info["size"]), str([info.get(key) for key in VERSION_KEYS]))
            for name, info in sorted(system.find(path, maxdepth=2, detail=True).items())
            if name.endswith(".tar") and ".." not in name  # which would be written elsewhere
        }
    except Exception as error:  # each protocol's package raises its own
        raise DataError(f"{root} cannot be read ({reason(error)}).") from None


def _is_whole(path: Path, size: int, stale: int | None) -> bool:
    return path.is_file() and path.stat().st_size == size and path.stat().st_ino != stale


def _fetch(url: str, path: Path, size: int, stale: int | None) -> None:
    import fsspec

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if _is_whole(path, size, stale):  # fetched by the process that we waited for
                return
            system, source = fsspec.core.url_to_fs(url, **_timeouts(url))
            with replacing(path) as file:
                for pause in (*PAUSES_S, None):
                    try:
                        system.get_file(source, file.name, callback=_progress(url, size))
                        break
                    except Exception as error:
                        final = isinstance(error, FileNotFoundError | DataError)
                        if pause is None or final or _is_of_disk(error, path):
                            raise
                        time.sleep(pause)
                fetched = os.path.getsize(file.name)
                if fetched != size:
                    raise DataError(f"{url} has {fetched:,} bytes instead of {size:,}: copy it again.")
    except DataError:
        raise
    except Exception as error:
        if _is_of_disk(error, path):
            raise DataError(cannot_write(path, error, "choose datamodule.cache=FOLDER")) from None
        why = "no such file" if isinstance(error, FileNotFoundError) else reason(error)
        raise DataError(f"{url} cannot be fetched ({why}). Repeat the command once it can.") from None


def _progress(url: str, size: int) -> Any:
    """A callback for fsspec that reports progress now and then, and ends a transfer that grows too large."""
    from fsspec.callbacks import Callback

    said = time.monotonic()

    def on_bytes(_: int | None, fetched: int) -> None:
        nonlocal said
        if fetched > size:
            raise DataError(f"{url} has more than {size:,} bytes: copy it again.")
        if time.monotonic() > said + REPORT_EVERY_S:
            said = time.monotonic()
            print(f"fetching {url}: {fetched:,} of {size:,} bytes ...", file=sys.stderr, flush=True)

    return Callback(hooks={"progress": on_bytes})


def _timeouts(url: str, total: float | None = None) -> dict[str, Any]:
    """An HTTP transfer may last as long as bytes arrive; aiohttp's default would end it after five minutes."""
    if not url.startswith(HTTP):
        return {}
    import aiohttp

    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=total, sock_connect=30, sock_read=60)}}


def _is_of_disk(error: Exception, path: Path) -> bool:
    """Whether the error concerns the file that is written, or a folder above it."""
    name = str(getattr(error, "filename", None) or "?")
    full = isinstance(error, OSError) and error.errno in DISK_FULL
    return full or name.startswith(str(path)) or str(path).startswith(name)
