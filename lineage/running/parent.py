"""Ends a process with the one that started it: a rank with rank 0, a job with its sweep. Imports no torch."""

import os
import signal
import sys
import threading
import time

from lineage.running.process import heard

PARENT = "LINEAGE_PARENT"  # environment variable: the process that started this rank or job


def follow_parent() -> None:
    """In a rank or a job, watch the process that started it, in the background; name this process to its own children.

    A rank cannot save without rank 0: it ends. A job gets SIGTERM, as from a scheduler, and saves.
    """
    parent = os.environ.get(PARENT)
    os.environ[PARENT] = str(os.getpid())
    if parent is None or not parent.isdigit():
        return
    is_rank = os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ
    direct = os.getppid() == int(parent)

    def loop() -> None:
        while os.getppid() == int(parent) if direct else _is_alive(int(parent)):
            time.sleep(0.5)
        _end_rank() if is_rank else os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=loop, daemon=True, name="follow-parent").start()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _end_rank() -> None:
    if not heard:  # as rank 0 did
        sys.stderr.write(f"[rank {os.environ['LOCAL_RANK']}] rank 0 has died.\n")
        sys.stderr.flush()
    os._exit(1)
