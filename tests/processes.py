"""Processes that a command started, by the system's table."""

import time
from pathlib import Path


def fields(pid: int | str) -> list[str]:
    """State, parent and so on of a process; nothing if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def children(pid: int) -> list[int]:
    """Processes that were started by a process and live."""
    found = ((path.name, fields(path.name)) for path in Path("/proc").glob("[0-9]*"))
    return [int(child) for child, of in found if of and int(of[1]) == pid and of[0] != "Z"]


def is_gone(pid: int, within: float = 20) -> bool:
    deadline = time.monotonic() + within
    while fields(pid)[:1] not in ([], ["Z"]):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
