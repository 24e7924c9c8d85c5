"""A run that receives a signal to stop saves its step, reports it, and exits with the status that schedulers expect."""

import logging
import os
import signal
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console

from lineage.errors import Stopped
from lineage.running.checkpoints import Checkpoints
from lineage.running.process import handle, heard, requeue, stopped
from lineage.running.ranks import TIME_IS_UP, Agreement

log = logging.getLogger(__name__)


class Stop(Callback):
    """On SIGTERM, SIGHUP, Ctrl-C, SIGUSR1, SIGUSR2 or after `max_time`: save, report it, raise Stopped.

    A signal to one rank stops all of them one step later; they agree in the same way on a checkpoint that is due by
    time. During validation a stop waits for the end of the epoch. A second Ctrl-C ends the process at once; the last
    saved step stays. Other signals come twice where torchrun or a sweep passes on what SLURM has sent to all. In a
    SLURM job SIGUSR1, SIGUSR2 and a preemption also requeue the job.

    Args:
        max_time: DD:HH:MM:SS from the start of training in this process, or None.
        timeout_s: how long to wait for the other ranks.
        name: of the run.
    """

    def __init__(self, max_time: str | None, timeout_s: float, console: Console, name: str) -> None:
        self.deadline = time.monotonic() + in_seconds(max_time) if max_time is not None else None
        self.max_time, self.timeout_s, self.console, self.name = max_time, timeout_s, console, name
        self.received = 0  # exit status: 128 + signal, or TIME_IS_UP
        self.before: dict[int, Any] = {}
        self.agreement: Agreement | None = None
        self.agreed = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.agreement, self.is_first = Agreement(trainer.world_size, self.timeout_s), trainer.is_global_zero
        self.before = handle(self._on_signal)
        self.received = self.received or (128 + heard.pop() if heard else 0)

    def _on_signal(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self.received == 128 + number:
            os._exit(128 + number)
        self.received = self.received or 128 + number
        if number == signal.SIGINT and self.is_first:  # somebody waits at the keyboard
            sys.stderr.write("Stops at the end of the step, or of validation; once more to stop at once.\n")

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.received = self.received or TIME_IS_UP
        checkpoints = trainer.checkpoint_callback
        assert isinstance(checkpoints, Checkpoints)
        assert self.agreement is not None
        received, by_clock, is_old = self.agreement.exchange(
            self.received, checkpoints.is_due_by_clock(), checkpoints.is_old()
        )
        self.agreed = max(self.agreed, received)
        due = self.agreed or by_clock or checkpoints.is_due_by_steps(trainer)
        checkpoints.epoch_must_be_saved = bool(due or is_old)
        if trainer.is_last_batch:
            return  # saved at the epoch's end, once its metrics are known
        if due:
            checkpoints.save(trainer)
        if self.agreed:
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_between_epochs(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._handle_as_before()  # first, so that no signal is lost
        if self.agreement is not None:  # else there was nothing left to train
            self._stop_between_epochs(trainer)

    def _stop_between_epochs(self, trainer: pl.Trainer) -> None:
        """Stop if the last epoch has been saved; otherwise at the end of the next step, which is."""
        checkpoints: Any = trainer.checkpoint_callback
        assert self.agreement is not None
        self.agreement.exchange(self.received, 0, 0)
        received, *_ = self.agreement.finish(self.received, 0, 0)
        self.agreed = max(self.agreed, received)
        if self.agreed and trainer.global_step and checkpoints.saved_step == trainer.global_step:
            self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        status = self.agreed
        why = f"trainer.max_time={self.max_time}" if status == TIME_IS_UP else signal.Signals(status - 128).name
        line = f"Stopped by {why} at step {trainer.global_step}, saved. "
        line += f"The same command with run={self.name} continues it."
        stopped.set()
        if trainer.is_global_zero:
            again = requeue(status - 128) if status != TIME_IS_UP else ""
            line = f"{line} {again}".rstrip()
            log.info(line)
            self.console.print(line, highlight=False, soft_wrap=True)
        raise Stopped(line, status)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._handle_as_before()  # after an exception too

    def _handle_as_before(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}


def in_seconds(max_time: str) -> float:
    """DD:HH:MM:SS, or its last parts, in seconds."""
    seconds = 0.0
    for part, unit in zip(reversed(str(max_time).split(":")), (1, 60, 3600, 86400), strict=False):
        seconds += float(part) * unit
    return seconds
