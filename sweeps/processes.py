"""Runs jobs one after the other, each as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from running.directory import is_in_use, load_results
from running.parent import PARENT
from sweeps.jobs import Job, is_done


def run_jobs(jobs: Sequence[Job], runs: Path, total: int) -> list[float | None]:
    """Run the jobs that are not finished; the validation accuracy of each, None if it failed.

    A job ends with this process: it saves its step and exits.
    """
    values: list[float | None] = []
    for job in jobs:
        state = ": finished before" if is_done(job) else ": runs in another process" if is_in_use(job.folder) else ""
        print(f"\n[{job.number}/{total}] {job.folder.name}{state}", flush=True)
        if not state:
            environment = {**os.environ, PARENT: str(os.getpid())}
            subprocess.run(command(job, runs), check=False, env=environment)
        values.append(load_results(job.folder).get("val_top1") if is_done(job) else None)
    return values


def command(job: Job, runs: Path) -> list[str]:
    words = [word for word in job.words if word.split("=")[0] != "run"]
    return [sys.executable, sys.argv[0], *words, f"run='{job.folder.relative_to(runs)}'"]
