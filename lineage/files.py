"""Files written whole or not at all, folders with one writer, and the reason in an OSError."""

import csv
import errno
import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from lineage.errors import UserError

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
TEMPORARY = ".part"  # the end of a file's name until it is whole


@contextmanager
def replacing(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A temporary file beside `path`, flushed to the disk and renamed to it in the end: a kill leaves the old file or
    the new one, and an exception the old one."""
    temporary = path.with_name(path.name + TEMPORARY)
    text: dict[str, Any] = (
        {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape"}
    )  # a folder's name may be no UTF-8
    try:
        temporary.unlink(missing_ok=True)
        with open(temporary, mode.replace("w", "x"), **text) as file:  # x: a planted link is not followed
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes, instead: str = "choose runs=FOLDER") -> None:
    """Write a file whole. Raises UserError, with what to do `instead`: it cannot be written."""
    try:
        with replacing(path, "w" if isinstance(content, str) else "wb") as file:
            file.write(content)
    except OSError as error:
        raise UserError(cannot_write(path, error, instead)) from error


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows whole, below the names of their columns. Raises UserError: the file cannot be written."""
    write_whole(path, as_csv(columns, rows))


def as_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows below the names of their columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def cannot_write(path: Path, error: BaseException, instead: str = "choose runs=FOLDER") -> str:
    return f"{path} cannot be written ({reason(error)}). Make room or {instead}; the same command continues."


def reason(error: BaseException) -> str:
    """Why, in a few words: the operating system's own, or the first line of the exception's."""
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def remove_temporary(folder: Path) -> None:
    """Remove the files of a folder that a kill left half-written."""
    for path in folder.glob(f"*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def read_text(path: Path, limit: int = 16 * 2**20) -> str:
    """A file's text. Raises OSError; ValueError: it is larger than `limit` bytes, which no such file of ours is."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return text


def read_json(path: Path) -> Any:
    """A file's values. Raises OSError; ValueError: it is no JSON, too large or nested too deep."""
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def check_no_links(folder: Path) -> None:
    """Raise UserError if a file or folder of a run, or in its folders, is a symbolic link: what is written through one
    lands elsewhere. (wandb makes links in its own folder, submitit in .submitit.)"""
    for path in [folder, *folder.glob("*"), *folder.glob("[!w.]*/*")]:
        if path.is_symlink():
            raise UserError(f"{path} is a link, which a run does not follow: remove it, or choose another name.")


class Lock:
    """The right to write in a folder, held by one process until it releases it or ends.

    The operating system frees the lock of a process that dies; .lock.json only says whose it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = FileLock(folder / ".lock")

    def acquire(self) -> None:
        """Make the folder and take it. Raises UserError: somebody else has it, and since when."""
        self.folder.mkdir(parents=True, exist_ok=True)
        check_no_links(self.folder)
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.folder} is in use{self._holder()}. Wait for it, or choose another name.") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            sys.stderr.write(f"{self.folder}: this file system has no locks, so a second command is not noticed.\n")
            return
        here = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_whole(self.folder / ".lock.json", json.dumps(here))

    def _holder(self) -> str:
        try:
            held = read_json(self.folder / ".lock.json")
            return f" by process {held['pid']} on {held['host']}, since {held['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def release(self) -> None:
        if self.lock.is_locked:
            (self.folder / ".lock.json").unlink(missing_ok=True)
            (self.folder / ".lock").unlink(missing_ok=True)  # while it is held: who opened it before finds it locked
            self.lock.release()


def is_in_use(folder: Path) -> bool:
    if not (folder / ".lock").exists():
        return False
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # no locks here
        return False
