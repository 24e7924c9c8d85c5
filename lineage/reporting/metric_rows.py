"""Metrics while a run trains: rows for the loggers, and a table of epochs for train.log and the screen."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console

from lineage.errors import UserError
from lineage.files import reason
from lineage.reporting.clock import Clock
from lineage.reporting.metrics_csv import MetricsCSV
from lineage.text import duration

log = logging.getLogger(__name__)

LINE_S = 60  # seconds of an epoch after which a log gets a line
# Names in dashboards: the chart, and the curve in it.
CHARTS = {
    "step_loss": "loss/step", "lr": "schedule/lr", "epoch": "schedule/epoch", "seconds": "speed/seconds",
    "images_per_second": "speed/images_per_second",
}  # fmt: skip
HEAD = (
    f"{'training':>38} {'validation':>15}",
    f"{'lr':>22} {'loss':>7} {'top-1':>7} {'loss':>7} {'top-1':>7}   {'images/s':>8} {'left':>6}",
)


class MetricRows(Callback):
    """Sends rows to the loggers: loss and learning rate every few steps, all metrics at the end of an epoch.

    If a logger fails, the run reports it once and goes on.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self.console, self.clock = console, clock
        self.failed: set[str] = set()
        self.validated = False  # in this epoch; Lightning keeps the metrics of earlier ones
        self.said_at, self.has_head = time.monotonic(), False

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validated = True

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.said_at = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batch: Any, i: int) -> None:
        if trainer.loggers and trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            row = {"step_loss": module.step_loss(), "lr": _rate(trainer)}  # type: ignore[operator]
            self.write(trainer, row)
        if time.monotonic() - self.said_at >= LINE_S and not trainer.is_last_batch:
            self.said_at, done = time.monotonic(), (i + 1) / trainer.num_training_batches
            loss = module.running_loss()  # type: ignore[operator]
            line = f"{_place(trainer)}  step {i + 1:,} of {trainer.num_training_batches:,}  loss {loss:.4f}  "
            self._say(trainer, f"{line}{self.clock.epoch_speed:,.0f} images/s, {self._left(trainer, done)} left", True)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        validation = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        metrics = {**module.train_metrics, **(validation if self.validated else {})}  # type: ignore[dict-item]
        self.validated = False
        epoch, speed = trainer.current_epoch + 1, self.clock.epoch_speed
        times = {"images_per_second": speed, "seconds": self.clock.count()}
        self.write(trainer, {"epoch": epoch, "lr": _rate(trainer), **metrics, **times})
        for line in () if self.has_head else HEAD:
            self._say(trainer, line)
        self.has_head = True
        columns = ("train_loss", "train_top1", "val_loss", "val_top1")
        values = " ".join(f"{metrics[name]:7.4f}" if name in metrics else f"{'-':>7}" for name in columns)
        best: Any = trainer.checkpoint_callback
        is_best = best is not None and best.improves(trainer.callback_metrics)
        line = f"{_place(trainer):13} {_rate(trainer):8.3g} {values} {'*' if is_best else ' '} {speed:8,.0f}"
        self._say(trainer, f"{line} {self._left(trainer, 1.0):>6}")

    def _say(self, trainer: pl.Trainer, line: str, only_in_logs: bool = False) -> None:
        if trainer.is_global_zero:
            log.info(line)
            if not (only_in_logs and self.console.is_terminal):
                self.console.print(line, highlight=False, soft_wrap=True)

    def _left(self, trainer: pl.Trainer, done: float) -> str:
        """The time that is left, by the mean of the epochs until now, of which the current one is `done` to a share."""
        epochs = self.clock.steps / trainer.num_training_batches
        return duration(self.clock.count() / epochs * ((trainer.max_epochs or 0) - trainer.current_epoch - done))

    def write(self, trainer: pl.Trainer, row: Mapping[str, float], **more: float) -> None:
        """Send a row to the loggers: to dashboards by the names of their charts, and with `more`."""
        charts, step = {**chart_names(row), **more}, trainer.global_step
        self.each(trainer, lambda one: one.log_metrics(row if isinstance(one, MetricsCSV) else charts, step))

    def close(self, trainer: pl.Trainer) -> None:
        self.each(trainer, lambda one: one.finalize("success"))

    def each(self, trainer: pl.Trainer, call: Callable[[Any], Any], kind: Any = object) -> None:
        """Call a function of each logger that is of a kind."""
        for logger in (logger for logger in trainer.loggers if isinstance(logger, kind)):
            name = type(logger).__name__
            try:
                call(logger)
            except UserError:  # from metrics.csv: the disk is full, so the run cannot be saved either
                raise
            except Exception as error:  # a dashboard's client may raise anything
                if name not in self.failed:
                    self.failed.add(name)
                    line = f"{name} failed ({reason(error)}); the run goes on."
                    log.warning(line)
                    self.console.print(line, style="red", highlight=False, soft_wrap=True)


def chart_names(row: Mapping[str, float]) -> dict[str, float]:
    """A row by its names in dashboards: top1/train, top1/val, and top1/average if weights are averaged."""
    averaged, found = any(name.startswith("val_raw_") for name in row), {}
    curves = {"train": "train", "val_raw": "val", "val": "average" if averaged else "val"}
    for name, value in row.items():
        split, _, metric = name.rpartition("_")
        found[f"{metric}/{curves[split]}" if split in curves else CHARTS.get(name, name)] = value
    return found


def _rate(trainer: pl.Trainer) -> float:
    return trainer.optimizers[0].param_groups[0]["lr"]


def _place(trainer: pl.Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
