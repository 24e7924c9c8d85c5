"""Several processes of one run: when one dies, the others end instead of waiting, and a message says so."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies.launchers import subprocess_script

from lineage.errors import Stopped, UserError
from lineage.files import TEMPORARY

LOOK_S = 1.0  # seconds between two looks at the other processes
TIME_IS_UP = 124  # exit status of the command `timeout`; that of a signal is 128 and more


class RankDied(UserError):
    """Another process of the run has died or does not answer."""


class Ranks(Callback):
    """Ends a run of several devices when one of them does not answer.

    Args:
        timeout_s: how long a collective waits, the same as the strategy's; only for the message.
        folder: of a run, which all nodes have to share; None: of an evaluation, which only the first rank writes.
    """

    def __init__(self, timeout_s: float, folder: Path | None = None) -> None:
        self.timeout_s, self.folder = timeout_s, folder

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.num_nodes > 1 and self.folder is not None:
            check_shared(self.folder, trainer)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """If a collective operation failed, end the processes started here."""
        if trainer.world_size == 1 or isinstance(exception, UserError) or not is_collective_failure(exception):
            return
        time.sleep(3 * LOOK_S)  # a rank that has died is named meanwhile
        _kill(getattr(trainer.strategy.launcher, "procs", []))
        raise RankDied(
            f"Another rank of {trainer.world_size} does not answer any more (trainer.timeout_s={self.timeout_s:g}). "
            "The same command continues at the last saved step."
        ) from exception


def check_shared(folder: Path, trainer: pl.Trainer) -> None:
    """Raise UserError if not all nodes see the run's folder, which the first rank has made: they continue from its
    checkpoints. The first rank says which; the others end with status 1."""
    here = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    name = f"{uuid.uuid4().hex}{TEMPORARY}"  # a new one, which no file system has cached as missing
    if trainer.is_global_zero:
        (folder / name).touch()
    probe = folder / trainer.strategy.broadcast(name)
    found = [""] * trainer.world_size
    dist.all_gather_object(found, "" if probe.exists() else here)
    if trainer.is_global_zero:
        probe.unlink()
    if any(found):
        nodes = ", ".join(sorted({node for node in found if node}))
        message = f"{folder} of {here} is not there on {nodes}: runs=FOLDER takes one that all nodes share."
        raise UserError(message) if trainer.is_global_zero else Stopped(message, 1)


def is_collective_failure(error: BaseException) -> bool:
    """Whether gloo or NCCL reports a peer that is gone or late."""
    connection = ("Connection closed by peer", "Connection reset", "Connection was likely closed", "Broken pipe")
    signs = (*connection, "Timed out", "timed out", "gloo", "NCCL")
    return isinstance(error, dist.DistError | RuntimeError | ValueError) and any(sign in str(error) for sign in signs)


def observe_children(children: list[Any]) -> None:
    """In the process that starts the others: end, and say why, when one of them has failed.

    Replaces Lightning's observer, which kills all without a message, some seconds after one has died.
    """

    def loop() -> None:
        while True:
            _end_with_children(children)
            time.sleep(LOOK_S)

    threading.Thread(target=loop, daemon=True, name="watch-children").start()


subprocess_script._launch_process_observer = observe_children  # type: ignore[assignment]


def _end_with_children(children: list[Any]) -> None:
    for rank, child in enumerate(children, start=1):
        if child.poll() not in (None, 0) and child.returncode < TIME_IS_UP:  # not one that was told to stop
            how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit status {child.returncode}"
            sys.stderr.write(f"Rank {rank} has died ({how}). The same command continues at the last saved step.\n")
            sys.stderr.flush()
            _kill(children)
            os._exit(128 - child.returncode if child.returncode < 0 else 1)  # a sweep continues what a signal ended


def _kill(children: list[Any]) -> None:
    for child in children:
        with contextlib.suppress(OSError):
            os.kill(child.pid, signal.SIGKILL)  # a stopped process handles no other signal


class Agreement:
    """The maximum of values over all ranks, one step late.

    The host exchanges the values while the next step is computed, so a GPU's queue stays full.
    """

    def __init__(self, world_size: int, timeout_s: float) -> None:
        self.alone = world_size == 1
        wait = timedelta(seconds=timeout_s)
        self.group: Any = None if self.alone else dist.new_group(backend="gloo", timeout=wait)
        self.pending: tuple[Any, torch.Tensor] | None = None

    def exchange(self, *values: int) -> list[int]:
        """Send this rank's values; returns the maxima of the previous call (with one rank: these values)."""
        if self.alone:
            return list(values)
        before = self.finish(*[0] * len(values))
        tensor = torch.tensor(values, dtype=torch.int64)
        self.pending = dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.group, async_op=True), tensor
        return before

    def finish(self, *values: int) -> list[int]:
        """The maxima of the pending exchange; `values` if there is none."""
        if self.pending is None:
            return list(values)
        work, tensor = self.pending
        self.pending = None
        work.wait()
        return tensor.tolist()
