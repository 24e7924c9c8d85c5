"""Where a packing lies: a folder, or a URL that fsspec reads, whose files are fetched when first read. No torch."""

import errno
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from lineage.datamodules.discovery.index import read_regular_file
from lineage.datamodules.discovery.user_cache import cache_folder, entry
from lineage.datamodules.errors import DataError
from lineage.files import cannot_write, reason, replacing

MOST_BYTES, MOST_S = 2**24, 60  # limits of a description
REPORT_EVERY_S = 30  # between two reports of progress
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Place:
    """Files under a root, by their names below it.

    Attributes:
        root: a folder, or a URL: s3://bucket/folder.
        folder: the same folder, or the one that keeps what was fetched from the URL.
    """

    root: str
    folder: Path

    def file(self, name: str, size: int) -> Path:
        """The local file. One process fetches it whole from a URL if it is not there, while others wait. size: in
        bytes. Raises DataError: it cannot be fetched, has another size, or there is no room for it."""
        path = self.folder / name
        if is_remote(self.root) and not _is_whole(path, size):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(f"{path}.lock"):
                    if not _is_whole(path, size):  # fetched by the process that we waited for
                        with replacing(path) as file:
                            _fetch(f"{self.root.rstrip('/')}/{name}", file.name, size)
            except OSError as error:
                raise DataError(cannot_write(path, error, "choose datamodule.cache=FOLDER")) from None
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
    try:
        if not is_remote(root):
            content = read_regular_file(os.path.join(root, name), MOST_BYTES + 1)
        else:
            content = _read_url(f"{root.rstrip('/')}/{name}")
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


def _read_url(url: str) -> bytes:
    """All bytes, or more than MOST_BYTES of them."""
    import fsspec

    content = b""
    with fsspec.open(url, "rb", **_timeouts(url, MOST_S)) as file:
        while len(content) <= MOST_BYTES and (part := file.read(MOST_BYTES + 1 - len(content))):
            content += part
    return content


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _fetch(url: str, target: str, size: int) -> None:
    """Write the file at a URL to `target`. Raises OSError: the disk is full; DataError: it cannot be fetched."""
    import fsspec

    system, source = fsspec.core.url_to_fs(url, **_timeouts(url))
    try:
        system.get_file(source, target, callback=_progress(url, size))
    except DataError:
        raise
    except Exception as error:  # each protocol's package raises its own
        if getattr(error, "errno", None) in DISK_FULL:
            raise
        why = "no such file" if isinstance(error, FileNotFoundError) else reason(error)
        raise DataError(f"{url} cannot be fetched ({why}). Repeat the command once it can.") from None
    if (fetched := os.path.getsize(target)) != size:
        raise DataError(f"{url} has {fetched:,} bytes instead of {size:,}: copy it again.")


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
    if not url.startswith(("http://", "https://")):
        return {}
    import aiohttp

    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=total, sock_connect=30, sock_read=60)}}
