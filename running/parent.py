"""A process that another one started ends with it: a rank with the first rank, a job with its sweep. Imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

PARENT = "LINEAGE_PARENT"  # a sweep's process, of the jobs that it starts


def follow_parent() -> None:
    """Watch the process that started this one, in the background, if this is a rank or a job.

    A rank whose first rank is gone cannot save: it ends. A job is told as a scheduler would, and saves.
    """
    parent = os.getppid()
    if os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ:
        _start(parent, _end_rank)
    elif os.environ.get(PARENT) == str(parent):
        _start(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))


def _end_rank() -> None:
    sys.stderr.write(f"[rank {os.environ['LOCAL_RANK']}] rank 0 has died.\n")
    sys.stderr.flush()
    os._exit(1)


def _start(parent: int, end) -> None:
    def loop() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        end()

    threading.Thread(target=loop, daemon=True, name="follow-parent").start()
