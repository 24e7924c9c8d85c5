"""The process of a command: what it says while torch is imported, and its end. Imports no torch."""

import atexit
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig

from lineage.running.directory import is_main_process


@contextmanager
def loading() -> Iterator[None]:
    """Around the first imports of torch and Lightning: says on standard error what they are for, and shortens them.

    While modules are imported, Python's collector walks through a million objects again and again and finds nothing to
    free: a quarter of the time. It is off here, and leaves these objects out afterwards, when the run trains and ends.
    """
    if "torch" not in sys.modules and is_main_process():
        sys.stderr.write(f"{_command()}: loading torch\n")
        sys.stderr.flush()
    first, collects = "pytorch_lightning" not in sys.modules, gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        if collects:
            gc.enable()


def _command() -> str:
    """The verb, and the run that it reads or the choices, also those that are left to the defaults."""
    hydra: Any = HydraConfig.get()
    verb, choices = str(hydra.job.config_name), hydra.runtime.choices
    words = [word for word in hydra.overrides.task if verb != "train" and word.startswith("run=")]
    words = words or [f"{group}={choices[group]}" for group in ("arch", "recipe", "datamodule") if choices.get(group)]
    return " ".join([verb, *words])


def leave() -> None:
    """End a command that is done, with status 0, as multiprocessing ends its processes: threads have ended, functions
    registered to run at exit have run, and streams are flushed.

    Python would also take down each object of torch and Lightning, which takes a second. It still does where something
    may come afterwards: a profiler or debugger of Python, `python -i`, a profiler of the machine, which preloads a
    library that writes at the end.
    """
    above = [frame.f_globals["__name__"] for frame, _ in traceback.walk_stack(sys._getframe(2))]  # of `command`
    alone = above in (["__main__"], ["__main__", "runpy", "runpy"]) and not sys.flags.inspect
    if not alone or "torch" not in sys.modules or {"LD_PRELOAD", "CUDA_INJECTION64_PATH"} & set(os.environ):
        return
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
