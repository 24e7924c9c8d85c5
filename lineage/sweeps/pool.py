"""Runs jobs, each as a process of its own: some at once, each on its share of the machine; or by a launcher."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

import lineage
from lineage.errors import Stopped
from lineage.running.parent import PARENT
from lineage.running.process import handle
from lineage.sweeps.jobs import Job

SCREENS = "screens"  # the folder of what jobs print that run side by side
LOOK_S, QUEUE_S = 0.1, 5.0


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
