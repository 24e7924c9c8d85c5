"""Metrics while a run trains: rows for the loggers, and a line per epoch for train.log and the screen."""

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console

from lineage.errors import UserError
from lineage.files import reason
from lineage.reporting.clock import Clock

log = logging.getLogger(__name__)


class MetricRows(Callback):
    """Sends rows to the loggers: loss and learning rate every few steps, all metrics at the end of an epoch.

    If a logger fails, the run reports it once and goes on.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self.console, self.clock = console, clock
        self.failed: set[str] = set()
        self.validated = False  # in this epoch; Lightning keeps the metrics of earlier ones

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validated = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.loggers and trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            row = {"step_loss": module.step_loss(), "lr": _rate(trainer)}  # type: ignore[operator]
            self.write(trainer, row)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        validation = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        metrics = {**module.train_metrics, **(validation if self.validated else {})}  # type: ignore[dict-item]
        self.validated = False
        epoch, speed = trainer.current_epoch + 1, self.clock.epoch_speed
        times = {"images_per_second": speed, "seconds": self.clock.count()}
        self.write(trainer, {"epoch": epoch, "lr": _rate(trainer), **metrics, **times})
        values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        line = f"epoch {epoch}/{trainer.max_epochs}  {values}  {speed:,.0f} images/s"
        if trainer.is_global_zero:
            log.info(line)
            self.console.print(line, highlight=False, soft_wrap=True)

    def write(self, trainer: pl.Trainer, row: Mapping[str, float]) -> None:
        self._call_loggers(trainer, "log_metrics", row, trainer.global_step)

    def close(self, trainer: pl.Trainer) -> None:
        self._call_loggers(trainer, "finalize", "success")

    def _call_loggers(self, trainer: pl.Trainer, method: str, *arguments: Any) -> None:
        """Call a method of each logger."""
        for logger in trainer.loggers:
            name = type(logger).__name__
            try:
                getattr(logger, method)(*arguments)
            except UserError:  # from metrics.csv: the disk is full, so the run cannot be saved either
                raise
            except Exception as error:  # a dashboard's client may raise anything
                if name not in self.failed:
                    self.failed.add(name)
                    line = f"{name} failed ({reason(error)}); the run goes on."
                    log.warning(line)
                    self.console.print(line, style="red", highlight=False, soft_wrap=True)


def _rate(trainer: pl.Trainer) -> float:
    return trainer.optimizers[0].param_groups[0]["lr"]
