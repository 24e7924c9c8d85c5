"""The progress bar on a terminal: epoch, steps, loss, last validation, speed and time left; in a test, batches."""

import time
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lineage.reporting.clock import Clock


def bar_columns(title: str, *more: TextColumn) -> tuple[Any, ...]:
    return TextColumn(title), BarColumn(bar_width=12), MofNCompleteColumn(), *more, TimeRemainingColumn(compact=True)


class RunProgressBar(ProgressBar):
    """One line for the whole run, updated four times a second; nothing without a terminal."""

    def __init__(self, console: Console, clock: Clock | None = None) -> None:
        super().__init__()
        self.console, self.clock = console, clock
        self.progress: Progress | None = None
        self.top1, self.updated_at = "-", 0.0

    def disable(self) -> None:
        """Lightning calls it on all ranks but the first, whose consoles are quiet already."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        values = TextColumn("loss {task.fields[loss]} val {task.fields[top1]} {task.fields[speed]} images/s")
        columns = (*bar_columns("epoch {task.fields[epoch]}", values), TextColumn("left"))
        steps = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        start: dict[str, Any] = {"completed": trainer.global_step, "epoch": "1", "loss": "-", "top1": "-", "speed": "-"}
        self._open(trainer, columns, total=steps, **start)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if self.progress is not None and time.monotonic() - self.updated_at > 0.25:
            self._update(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        top1 = trainer.callback_metrics.get("val_top1")
        self.top1 = "-" if top1 is None else f"{float(top1):.3f}"
        if self.progress is not None:
            self._update(trainer, module)

    def _update(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert self.progress is not None
        self.updated_at = time.monotonic()
        self.progress.update(
            self.task,
            completed=trainer.global_step,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            loss=f"{module.running_loss():.3f}",  # type: ignore[operator]
            top1=self.top1,
            speed=f"{self.clock.epoch_speed:,.0f}" if self.clock else "-",
        )

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._open(trainer, bar_columns("test"), transient=True, total=sum(map(int, trainer.num_test_batches)))

    def on_test_batch_end(self, *_: Any) -> None:
        if self.progress is not None:
            self.progress.advance(self.task)

    def _open(self, trainer: pl.Trainer, columns: Iterable[Any], transient: bool = False, **task: Any) -> None:
        if trainer.is_global_zero and self.console.is_terminal:
            self.progress = Progress(*columns, console=self.console, transient=transient, refresh_per_second=4)
            self.task = self.progress.add_task("", **task)
            self.progress.start()

    def _close(self, *_: Any) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    on_train_end = on_test_end = on_exception = _close  # type: ignore[assignment]
