"""While a run trains: a progress bar on a terminal, a line an epoch everywhere, and the loggers' rows."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)


class Report(Checkpoint):
    """Counts time and images, and hands each epoch's metrics to the loggers, to train.log and to the screen.

    A Checkpoint in Lightning's eyes, which calls these after the module's own end of an epoch.

    Attributes:
        seconds: spent in training and validation, those before a stop included.
        training_seconds, images: of the training steps alone; their quotient is images_per_second.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds = self.training_seconds = 0.0
        self.images = self.steps = 0
        self.counted_until = self.trained_until = time.monotonic()
        self.images_before, self.seconds_before = 0, 0.0  # at the start of this epoch
        self.progress: Progress | None = None
        self.top1: float | None = None
        self.shown_at = 0.0

    @property
    def images_per_second(self) -> float:
        return self.images / self.training_seconds if self.training_seconds else 0.0

    # ---- the clock

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.counted_until = time.monotonic()
        self.on_train_epoch_start(trainer, module)  # Lightning leaves it out where a run goes on within an epoch
        if trainer.is_global_zero and self.console.is_terminal:
            self.progress = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=12),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]} val {task.fields[top1]} {task.fields[speed]} images/s"),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=self.console,
                refresh_per_second=4,
            )
            steps = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
            self.task = self.progress.add_task(
                "", total=steps, completed=trainer.global_step, epoch="1", loss="-", top1="-", speed="-"
            )
            self.progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.trained_until = time.monotonic()
        self.images_before, self.seconds_before = self.images, self.training_seconds

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batches: Any, *_: Any
    ) -> None:
        now = time.monotonic()
        self.training_seconds += now - self.trained_until
        self.trained_until = now
        self.images += sum(len(batch.labels) for batch in batches) * trainer.world_size
        self.steps += 1
        if self.progress is not None and now - self.shown_at > 0.25:
            self._show(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.trained_until = time.monotonic()

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.seconds += now - self.counted_until
        self.counted_until = now

    def _epoch_speed(self) -> float:
        return (self.images - self.images_before) / max(self.training_seconds - self.seconds_before, 1e-9)

    # ---- what is shown and kept

    def _show(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert self.progress is not None
        self.shown_at = time.monotonic()
        loss, _, count = module.epoch_sums.tolist()  # type: ignore[operator]
        self.progress.update(
            self.task,
            completed=trainer.global_step,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            loss=f"{loss / count if count else module.train_metrics['train_loss']:.3f}",  # type: ignore[index]
            top1="-" if self.top1 is None else f"{self.top1:.3f}",
            speed=f"{self._epoch_speed():,.0f}",
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._count_seconds()
        speed = self._epoch_speed()
        metrics = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name[:4] in ("trai", "val_")
        }
        metrics |= module.train_metrics  # type: ignore[arg-type]
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = {
            "epoch": trainer.current_epoch + 1,
            "lr": rate,
            **metrics,
            "images_per_second": speed,
            "seconds": self.seconds,
        }
        for logger in trainer.loggers:
            logger.log_metrics(row, trainer.global_step)
        self.top1 = metrics.get("val_top1")
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self._say(trainer, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {shown}  {speed:,.0f} images/s")
        if self.progress is not None:
            self._show(trainer, module)

    def _say(self, trainer: pl.Trainer, line: str) -> None:
        if trainer.is_global_zero:
            log.info(line)
            self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._close()
        if isinstance(exception, KeyboardInterrupt):
            folder = Path(trainer.default_root_dir)
            name = folder.relative_to(Path.cwd() / "runs") if folder.is_relative_to(Path.cwd() / "runs") else folder
            self._say(trainer, f"Stopped at step {trainer.global_step}. The same command with run={name} goes on.")

    def _close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def state_dict(self) -> dict[str, Any]:
        self._count_seconds()
        return {name: getattr(self, name) for name in ("seconds", "training_seconds", "images", "steps")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
