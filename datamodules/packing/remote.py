"""Where a packed data set lies: a folder, or any URL of fsspec's, whose files are fetched at first use. No torch."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from lineage.datamodules.discovery.user_cache import cache_folder
from lineage.datamodules.errors import DataError

PAUSES_S = (1, 5, 25)  # before a fetch is tried again: a week's training outlives a hiccup of the network
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Place:
    """Files under a root, by their names below it.

    Attributes:
        root: a folder, or a URL: s3://bucket/folder.
        folder: the same, or of a URL the folder that keeps what was fetched.
    """

    root: str
    folder: Path

    def file(self, name: str, size: int, stale: int | None = None) -> Path:
        """The local file; of a URL fetched whole if it is not there, by one process while the others wait.

        Args:
            stale: the inode of a copy that is damaged: it is fetched again, unless another process has done so.

        Raises:
            DataError: it cannot be fetched, has another size, or there is no room for it.
        """
        path = self.folder / name
        if is_remote(self.root) and not _is_whole(path, size, stale):
            _fetch(f"{self.root.rstrip('/')}/{name}", path, size, stale)
        return path


def is_remote(root: str) -> bool:
    return "://" in root


def place_of(root: str, cache: str | None, described: bytes) -> Place:
    """The place of a packing, whose dataset.json is `described`: another packing at the same URL is cached elsewhere.

    Args:
        cache: the folder for what is fetched; None: in the user's cache.
    """
    if not is_remote(root):
        return Place(root, Path(root))
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", root.partition("://")[2]).strip("-")[-60:]
    digest = hashlib.blake2b(root.encode() + described, digest_size=8).hexdigest()
    return Place(root, (Path(cache) if cache else cache_folder()) / f"{words}-{digest}")


def read_small(root: str, name: str) -> bytes | None:
    """A file's content, of a URL fetched anew; None if there is none. Raises DataError: it cannot be read."""
    try:
        if not is_remote(root):
            return (Path(root) / name).read_bytes()
        import fsspec

        with fsspec.open(f"{root.rstrip('/')}/{name}", "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.__cause__ is None or isinstance(error.__cause__, FileNotFoundError):
            return None
        raise DataError(f"{root}/{name} cannot be read ({_reason(error.__cause__)}).") from None  # no answer
    except Exception as error:  # whatever a protocol's package makes of its troubles
        raise DataError(f"{root}/{name} cannot be read ({_reason(error)}).") from None


def _is_whole(path: Path, size: int, stale: int | None) -> bool:
    return path.is_file() and path.stat().st_size == size and path.stat().st_ino != stale


def _fetch(url: str, path: Path, size: int, stale: int | None) -> None:
    import fsspec

    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be made ({_reason(error)}): what is fetched needs a folder, datamodule.cache=FOLDER."
        ) from None
    try:
        with FileLock(f"{path}.lock"):
            if _is_whole(path, size, stale):  # by the process that we waited for
                return
            system, source = fsspec.core.url_to_fs(url, **_patience(url))
            for pause in (*PAUSES_S, None):
                try:
                    system.get_file(source, str(part))
                    break
                except Exception as error:
                    if pause is None or isinstance(error, FileNotFoundError) or _is_of_disk(error, path):
                        raise
                    time.sleep(pause)
            if part.stat().st_size != size:
                raise DataError(f"{url} has {part.stat().st_size:,} bytes instead of {size:,}: copy it again.")
            with open(part, "rb") as fetched:
                os.fsync(fetched.fileno())  # else a machine that fails may leave zeros of the right length
            os.replace(part, path)
    except DataError:
        part.unlink(missing_ok=True)
        raise
    except Exception as error:
        with suppress(OSError):
            part.unlink()
        if _is_of_disk(error, path):
            raise DataError(
                f"{path} cannot be written ({_reason(error)}). Make room, or choose datamodule.cache=FOLDER."
            ) from None
        raise DataError(f"{url} cannot be fetched ({_reason(error)}). The same command goes on once it can.") from None


def _patience(url: str) -> dict[str, Any]:
    """An HTTP transfer may take as long as bytes come; by itself it ends after five minutes, and begins anew."""
    if not url.startswith(("http://", "https://")):
        return {}
    import aiohttp

    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)}}


def _is_of_disk(error: Exception, path: Path) -> bool:
    """Whether the trouble is with the file that is written."""
    return isinstance(error, OSError) and (error.errno in FULL or str(error.filename or "").startswith(str(path)))


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):  # whose words are those of the URL alone
        return os.strerror(errno.ENOENT).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip() or type(error).__name__).splitlines()[0]
