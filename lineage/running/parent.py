"""A process that another one started ends with it: a rank with the first, a job with its sweep. Imports no torch."""

import os
import signal
import sys
import threading
import time

PARENT = "LINEAGE_PARENT"  # in the environment: the process whose ranks or jobs its children are


def follow_parent() -> None:
    """Watch the process that started this one, in the background, if this is a rank or a job; be one for others.

    A rank whose first rank is gone cannot save: it ends. A job gets SIGTERM, as from a scheduler, and saves.
    """
    parent = os.environ.get(PARENT)
    os.environ[PARENT] = str(os.getpid())
    if parent is None or not parent.isdigit():
        return
    is_rank = os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ
    direct, end = os.getppid() == int(parent), _end_rank if is_rank else _end_job

    def loop() -> None:
        while os.getppid() == int(parent) if direct else _is_alive(int(parent)):
            time.sleep(0.5)
        end()

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
    sys.stderr.write(f"[rank {os.environ['LOCAL_RANK']}] rank 0 has died.\n")
    sys.stderr.flush()
    os._exit(1)


def _end_job() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
