"""Runs jobs one after the other, each as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lineage
from lineage.errors import Stopped
from lineage.files import is_in_use
from lineage.running.directory import load_results
from lineage.running.parent import PARENT
from lineage.sweeps.jobs import Job, is_done

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]


def run_jobs(jobs: Sequence[Job], runs: Path, total: int, config_dir: str | None = None) -> list[float | None]:
    """Run the jobs that are not finished; the validation accuracy of each, None if it failed.

    A job ends with this process: it saves its step and exits.

    Args:
        total: jobs of the sweep.
        config_dir: the folder of the user's own YAML.

    Raises:
        Stopped: this process received a signal to stop, and the job has saved its step.
    """
    values: list[float | None] = []
    for job in jobs:
        state = ": finished before" if is_done(job) else ": runs in another process" if is_in_use(job.folder) else ""
        print(f"\n[{job.number}/{total}] {job.folder.name}{state}", flush=True)
        if not state:
            environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": _python_path()}
            _run(command(job, runs, config_dir), environment)
        values.append(load_results(job.folder).get("val_top1") if is_done(job) else None)
    return values


def _run(line: list[str], environment: Mapping[str, str]) -> None:
    """Run a command to its end. Signals to stop are passed on to the command, which may take its time to save.

    (subprocess.run would kill it a quarter of a second after Ctrl-C.)
    """
    received: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        if number != signal.SIGINT:  # which a terminal sends to both
            job.send_signal(number)
        elif len(received) > 1:
            job.terminate()

    job = subprocess.Popen(line, env=environment)
    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        job.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise Stopped("The sweep was stopped.", 128 + received[0])


def command(job: Job, runs: Path, config_dir: str | None) -> list[str]:
    overrides = [override for override in job.overrides if override.split("=")[0] != "run"]
    name = str(job.folder.relative_to(runs)).replace("\\", r"\\").replace("'", r"\'")  # as Hydra reads quotes
    own = ["--config-dir", config_dir] if config_dir else []
    return [sys.executable, "-m", "lineage", "train", *own, *overrides, f"run='{name}'"]


def _python_path() -> str:
    """Where a job finds this package, installed or not."""
    here = str(Path(lineage.__file__).parents[1])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
