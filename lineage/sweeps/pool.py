"""Runs jobs, each as a process of its own: some at once, each on its share of the machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lineage
from lineage.errors import Stopped
from lineage.running.parent import PARENT
from lineage.running.process import handle
from lineage.sweeps.jobs import Job

SCREENS = "screens"  # the folder of what jobs print that run side by side
LOOK_S = 0.1


@dataclass(frozen=True)
class Share:
    """The GPUs, as CUDA_VISIBLE_DEVICES names them, and cores of a job; empty: all."""

    gpus: str = ""
    cores: set[int] = field(default_factory=set)


class Pool:
    """Up to `n_jobs` jobs at once. They end with this process: each saves its step and exits.

    One at a time has the terminal. Several share the GPUs that this process sees, by CUDA_VISIBLE_DEVICES, and on Linux
    its cores; what they print goes to files.

    Args:
        sweep: its folder.
        runs: the folder of all runs.
        n_jobs: how many run at once.
        devices: `trainer.devices` of the jobs.
        config_dir: the folder of the user's own YAML.
    """

    def __init__(self, sweep: Path, runs: Path, n_jobs: int, devices: Any, config_dir: str | None = None) -> None:
        self.screens, self.runs, self.config_dir = sweep / SCREENS, runs, config_dir
        self.running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}  # by place
        self.places = shares(n_jobs, devices) if n_jobs > 1 else [Share()]
        self.received: list[int] = []
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Pool":
        self.before = handle(self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        left = [process for _, process in self.running.values()]  # after an exception
        for process in left:
            process.terminate()
        for process in left:
            process.wait()

    def _pass_on(self, number: int, frame: Any) -> None:
        """Signals to stop go on to the jobs, which may take their time to save."""
        self.received.append(number)
        for _, process in self.running.values():
            if number != signal.SIGINT:  # which a terminal sends to all of them
                process.send_signal(number)
            elif len(self.received) > 1:
                process.terminate()

    @property
    def jobs(self) -> list[Job]:
        """Those that run."""
        return [job for job, _ in self.running.values()]

    @property
    def free(self) -> int:
        """How many more jobs can start now."""
        return 0 if self.received else len(self.places) - len(self.running)

    def start(self, job: Job) -> None:
        place = min(set(range(len(self.places))) - set(self.running))
        environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": python_path()}
        share, output = self.places[place], None
        if share.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = share.gpus
        if len(self.places) > 1:
            self.screens.mkdir(parents=True, exist_ok=True)
            output = open(self.screens / f"{job.folder.name}.txt", "ab")  # noqa: SIM115 # closed below
        line = line_of(words(job, self.runs), self.config_dir)
        process = subprocess.Popen(line, env=environment, stdout=output, stderr=output)
        if output is not None:
            output.close()
        if share.cores:
            os.sched_setaffinity(process.pid, share.cores)  # before it has threads of its own
        self.running[place] = job, process
        if self.received:  # since this job was asked for
            process.terminate()

    def wait(self) -> list[tuple[Job, int]]:
        """The jobs that have ended since, with their exit status (negative: the signal); after a moment, none.

        Raises:
            Stopped: this process received a signal to stop, and all jobs have ended.
        """
        time.sleep(LOOK_S)
        ended = [place for place, (_, process) in self.running.items() if process.poll() is not None]
        found = [self.running.pop(place) for place in ended]
        if self.received and not self.running:
            raise Stopped("The sweep was stopped.", 128 + self.received[0])
        return [(job, process.returncode) for job, process in found if not self.received]

    def end(self, job: Job) -> None:
        """Ask a job to save its step and to end."""
        for running, process in self.running.values():
            if running is job:
                process.terminate()


def shares(n_jobs: int, devices: Any) -> list[Share]:
    """The GPUs and cores of each of n jobs at once. With fewer GPUs than jobs, some share one.

    Args:
        devices: `trainer.devices` of a job; unless it is a number, GPUs are divided evenly.
    """
    gpus, cores = visible_gpus(), sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    each = devices if isinstance(devices, int) and devices > 0 else max(1, len(gpus) // n_jobs)
    groups = [",".join(gpus[i : i + each]) for i in range(0, len(gpus) - each + 1, each)]
    threads = max(1, len(cores) // n_jobs)
    found = []
    for place in range(n_jobs):
        own = {cores[(place * threads + i) % len(cores)] for i in range(threads)} if cores else set[int]()
        found.append(Share(groups[place % len(groups)] if groups else "", own))
    return found


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        try:
            line = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
            named = ",".join(subprocess.run(line, capture_output=True, text=True, check=True).stdout.split())
        except (OSError, subprocess.CalledProcessError):
            return []
    return [gpu for gpu in named.split(",") if gpu not in ("", "-1")]


def words(job: Job, runs: Path) -> list[str]:
    """The words of a job's command, with its directory."""
    name = str(job.folder.relative_to(runs)).replace("\\", r"\\").replace("'", r"\'")  # as Hydra reads quotes
    return [*(word for word in job.overrides if word.split("=")[0] != "run"), f"run='{name}'"]


def line_of(overrides: Sequence[str], config_dir: str | None = None) -> list[str]:
    own = ["--config-dir", config_dir] if config_dir else []
    return [sys.executable, "-m", "lineage", "train", *own, *overrides]


def python_path() -> str:
    """Where a job finds this package, installed or not."""
    here = str(Path(lineage.__file__).parents[1])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
