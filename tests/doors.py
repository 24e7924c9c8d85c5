"""Commands as a user types them: each is a process of its own, in a folder of its own, with warnings as errors.

A process of Python that has imported torch, Lightning and what a run needs forks one child a command (multiprocessing's
forkserver), which spares six seconds each. Ranks that a command starts are new processes, as ever. What has to be seen
from a cold start, such as that torch is not imported, is tested by `cold`.
"""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest

from lineage.errors import UserError

ROOT = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    "timm.optim torchmetrics tensorboard rich.progress lineage.doors.train lineage.assemble lineage.running.run".split()
)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str

    @property
    def table(self) -> dict[str, str]:
        """The rows of the table that it printed, by their names."""
        lines = [line.partition("  ") for line in self.stdout.splitlines()]
        return {name: value.strip() for name, _, value in lines if value.strip()}


class Command:
    """A command that runs."""

    def __init__(self, folder: Path, verb: str, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self.out, self.err = (Path(tempfile.mkstemp(prefix="lineage-test-")[1]) for _ in range(2))
        variables = {"OMP_NUM_THREADS": "1", "LINEAGE_DATA": str(folder / "data"), **environment}
        arguments = (str(folder), verb, list(words), variables, str(self.out), str(self.err))
        self.process = FORKS.Process(target=_run, args=arguments)
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def wait(self, timeout: float = 300) -> Done:
        self.process.join(timeout)
        if self.process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"still running after {timeout} s:\n{self.out.read_text()}\n{self.err.read_text()}")
        code = self.process.exitcode
        done = Done(code if code >= 0 else 128 - code, self.out.read_text(), self.err.read_text())
        self.out.unlink()
        self.err.unlink()
        return done

    def kill(self, number: int = signal.SIGKILL, group: bool = True) -> None:
        os.killpg(self.pid, number) if group else os.kill(self.pid, number)

    def wait_for(self, what: Callable[[], bool], timeout: float = 120) -> None:
        """Until `what` holds; an error if the command ends before."""
        deadline = time.monotonic() + timeout
        while not what():
            said = f"{self.out.read_text()}\n{self.err.read_text()}"
            assert self.process.exitcode is None and time.monotonic() < deadline, said
            time.sleep(0.002)


def _run(folder: str, verb: str, words: list[str], variables: dict[str, str], out: str, err: str) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
    multiprocessing.set_start_method("fork", force=True)  # as a command's own loaders start their workers
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    os.environ.update(variables, PYTHONWARNINGS="error::UserWarning")
    os.chdir(folder)
    import torch

    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", UserWarning)
    own = ROOT / f"{verb}.py"  # train.py and evaluate.py; the other doors open by `python -m lineage VERB`
    sys.argv, sys.path[0] = [str(own), *words] if own.exists() else ["lineage", verb, *words], str(ROOT)
    sys.path += filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    try:
        runpy.run_path(str(own), run_name="__main__") if own.exists() else runpy.run_module(
            "lineage", run_name="__main__", alter_sys=True
        )
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def start(folder: Path, verb: str, *words: str, **environment: str) -> Command:
    return Command(folder, verb, words, environment)


def command(folder: Path, verb: str, *words: str, **environment: str) -> Done:
    """Run a verb of the project to its end."""
    return start(folder, verb, *words, **environment).wait()


def finished(folder: Path, verb: str, *words: str, **environment: str) -> Done:
    """Run a verb of the project, which must succeed."""
    done = command(folder, verb, *words, **environment)
    assert done.returncode == 0, done.stderr
    return done


def error_message(done: Done | subprocess.CompletedProcess[str]) -> str:
    """What a command said that was refused: one line or two, without a traceback."""
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) <= 2, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def refused(folder: Path, verb: str, *words: str, **environment: str) -> str:
    """Run a verb of the project, which must fail in one line or two; the result is what it said."""
    return error_message(command(folder, verb, *words, **environment))


def mistake(folder: Path, verb: str, *words: str) -> str:
    """What a verb says of words that it refuses, in this process."""
    door = import_module(f"lineage.doors.{verb}")
    follow = mock.patch.object(door, "follow_parent", lambda: None, create=True)
    with contextlib.chdir(folder), follow, pytest.raises(UserError) as error:
        door.run(words)
    assert len(str(error.value).splitlines()) <= 2
    return str(error.value)


WITHOUT_TORCH = """
import runpy, sys
root, *words = sys.argv[1:]
sys.argv = ["lineage", *words]
sys.path.insert(0, root)
try:
    runpy.run_module("lineage", run_name="__main__")
finally:
    assert "torch" not in sys.modules, "torch was imported"
"""


def cold(folder: Path, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb from a cold start; an error if it imports torch."""
    command = [sys.executable, "-c", WITHOUT_TORCH, str(ROOT), verb, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())
