"""The process of a command: what it says while torch is imported, how signals stop it, its end. No torch here."""

import atexit
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig

from lineage.running.directory import is_main_process

NAMES = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
QUEUED_AGAIN = ("SIGUSR1", "SIGUSR2")  # by SLURM's --signal, by submitit
STOP_S = 10.0  # how long another rank than the first waits for that one's end
heard: list[int] = []  # signals that no run has handled
stopped = threading.Event()  # set when the command is about to end by a signal


@contextmanager
def loading() -> Iterator[None]:
    """Around the first imports of torch and Lightning: says on standard error what they are for, and shortens them.

    While modules are imported, Python's collector walks through a million objects again and again and finds nothing to
    free: a quarter of the time. It is off here, and leaves these objects out afterwards, when the run trains and ends.
    """
    if "torch" not in sys.modules and is_main_process():
        hydra: Any = HydraConfig.get()
        sys.stderr.write(f"{hydra.job.config_name}: loading torch\n")
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


# ---- signals to stop


def handle(handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Have signals to stop handled, but for a SIGHUP that nohup ignores; returns the handlers until now."""
    ignored = [number for number in SIGNALS if number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in SIGNALS if number not in ignored}


def end_by_signals() -> None:
    """From now on a signal to stop ends this command at once: before training, and in the test after it, nothing has to
    be saved. While it trains, lineage/running/stopping.py handles signals.

    A thread does it, since the main one may wait within C for other nodes.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handle(_hear)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_end_by, args=(reader,), daemon=True, name="signals").start()


def _hear(number: int, frame: Any) -> None:
    heard.append(number)


def _forget() -> None:
    """In a child that was forked, signals end that child."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) is _hear:
            signal.signal(number, signal.SIG_DFL)


def _end_by(signals: int) -> None:
    while True:
        number = os.read(signals, 1)[0]
        if not is_main_process():  # which may train already: then all stop together
            time.sleep(STOP_S)
        if signal.getsignal(number) is _hear and not stopped.is_set():
            stopped.set()
            said = f"Stopped by {signal.Signals(number).name}. What was saved stays. "
            said += requeue(number) if is_main_process() else ""
            os.write(2, f"{said.rstrip()}\n".encode())  # sys.stderr may be in the middle of a line
            os._exit(128 + number)


def requeue(number: int) -> str:
    """In a job of SLURM, ask for it to start again if the signal says so, or SIGTERM is that of a preemption: SLURM
    takes a job that ends within the GraceTime for completed. Returns a sentence about it, or ""."""
    job, name = os.environ.get("SLURM_JOB_ID"), signal.Signals(number).name
    if job is None or name not in (*QUEUED_AGAIN, "SIGTERM"):
        return ""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        if name == "SIGTERM" and "PreemptTime=2" not in _scontrol("show", "job", job):  # a date; otherwise None
            return ""
        _scontrol("requeue", job)
    except (OSError, subprocess.SubprocessError) as error:
        return f"Job {job} was not requeued: {(getattr(error, 'stderr', '') or str(error)).strip()}"
    return f"Requeued job {job}."


def _scontrol(*words: str) -> str:
    return subprocess.run(["scontrol", *words], capture_output=True, text=True, timeout=60, check=True).stdout


# ---- the end


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
