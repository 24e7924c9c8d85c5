"""The time that a run takes, summed over all the times it was continued."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class Clock(Callback):
    """Counts seconds, images, steps and epochs.

    Attributes:
        seconds: of training and validation.
        training_seconds, images: of the training steps alone; images_per_second is their quotient.
        epoch_speed: images per second in the current epoch.
    """

    def __init__(self) -> None:
        self.seconds = self.training_seconds = 0.0
        self.images = self.steps = self.epochs = 0
        self.counted_until = self.trained_until = time.monotonic()
        self.images_before, self.seconds_before = 0, 0.0  # at the start of this epoch

    @property
    def images_per_second(self) -> float:
        return self.images / self.training_seconds if self.training_seconds else 0.0

    @property
    def epoch_speed(self) -> float:
        return (self.images - self.images_before) / max(self.training_seconds - self.seconds_before, 1e-9)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.counted_until = time.monotonic()
        self.on_train_epoch_start(trainer, module)  # Lightning does not call it when a run continues within an epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.trained_until = time.monotonic()
        self.images_before, self.seconds_before = self.images, self.training_seconds

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batches: Any, *_: Any
    ) -> None:
        now = time.monotonic()
        self.training_seconds += now - self.trained_until
        self.trained_until = now
        self.images += batches.images * trainer.world_size
        self.steps += 1

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.trained_until = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.epochs += 1

    def count(self) -> float:
        """Add the time since the last call to `seconds`, and return them."""
        now = time.monotonic()
        self.seconds += now - self.counted_until
        self.counted_until = now
        return self.seconds

    def state_dict(self) -> dict[str, Any]:
        self.count()
        return {name: getattr(self, name) for name in ("seconds", "training_seconds", "images", "steps", "epochs")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
