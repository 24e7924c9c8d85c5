"""Jobs of a launcher of Hydra's (joblib, submitit_slurm, basic): how it gets them, and what it runs for each."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from lineage.running.parent import PARENT
from lineage.running.process import handle
from lineage.sweeps.jobs import Job
from lineage.sweeps.pool import line_of, python_path, words

QUEUE_S = 5.0


class Launched:
    """The same by a launcher of Hydra's (joblib, submitit_slurm, ...), which takes jobs together and waits for all.

    Args:
        launch: a list of the words of each job -> a list of their exit statuses.
        sweep: its folder.
        at_once: how many jobs it is given together.
    """

    def __init__(self, launch: Callable[[list[list[str]]], list[int]], sweep: Path, runs: Path, at_once: int) -> None:
        self.launch, self.sweep, self.runs, self.at_once = launch, sweep, runs, at_once
        self.waiting: list[Job] = []

    def __enter__(self) -> "Launched":
        wait_for_queue(self.sweep)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do: what the launcher runs is its own."""

    @property
    def jobs(self) -> list[Job]:
        return self.waiting

    @property
    def free(self) -> int:
        return self.at_once - len(self.waiting)

    def start(self, job: Job) -> None:
        self.waiting.append(job)

    def wait(self) -> list[tuple[Job, int]]:
        jobs, self.waiting = self.waiting, []
        return list(zip(jobs, self.launch([words(job, self.runs) for job in jobs]), strict=True))


def wait_for_queue(sweep: Path) -> None:
    """Wait for the jobs that submitit has queued for this sweep before, which the next ones would run once more."""
    ours = {path.name for path in (sweep / ".submitit").glob("*")}  # hydra.launcher.submitit_folder
    before = set[str]()
    while ours and (left := ours & _queued()):
        if left != before:
            print(f"Waiting for jobs of this sweep that SLURM has: {', '.join(sorted(left))}", flush=True)
        before = left
        time.sleep(QUEUE_S)


def _queued() -> set[str]:
    """The numbers of all jobs that wait or run; none where there is no SLURM."""
    try:
        line = ["squeue", "--noheader", "--array", "--format=%i"]
        return set(subprocess.run(line, capture_output=True, text=True, check=True).stdout.split())
    except (OSError, subprocess.CalledProcessError):
        return set()


def task(cfg: Any) -> int:
    """What a launcher of Hydra's runs in place of a job: a process of the job's own. Returns its exit status.

    It ends with the launcher's process, and signals to stop are passed on to it and end the launcher. A job of SLURM
    that has stopped is queued again, or was cancelled: it returns nothing, so that submitit waits for its next start,
    or hears of its end.
    """
    hydra: Any = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": python_path()}
    process = subprocess.Popen(line_of(hydra.overrides.task, *own), env=environment)
    parent, received = os.getppid(), list[int]()

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        if number != signal.SIGINT:  # which a terminal sends to all
            process.send_signal(number)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        process.terminate()
        process.wait()
        os._exit(1)  # joblib's processes would wait for other jobs

    before = handle(pass_on)
    threading.Thread(target=follow, daemon=True, name="follow-launcher").start()
    try:
        status = process.wait()
        if status > 128 and "SLURM_JOB_ID" in os.environ:
            os._exit(status)
        if received:
            sys.exit(128 + received[0])  # Hydra's launcher would start the next job
        return status
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
