"""What lineage find tries: learning rates, and the images of a forward pass. Nothing of it is saved."""

import copy
import dataclasses
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from lineage import assemble
from lineage.datamodules.base import ImageDataModule
from lineage.errors import UserError
from lineage.recipes.classifier import Classifier
from lineage.recipes.divergence import Diverged
from lineage.reporting.results import peak_memory
from lineage.running.trainer import Trainer

LOWEST, HIGHEST = 1e-4, 1e2  # of the rates that are tried, times recipe.lr
SMOOTHING = 0.9  # of the loss, from step to step
WARM_STEPS, SECONDS = 2, 5.0  # steps before those that are timed, and how long these take at least


class Rates(Callback):
    """Keeps each step's loss, and ends the training where it has grown to four times its least."""

    def __init__(self, steps: int) -> None:
        self.steps, self.losses = steps, list[float]()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        self.losses.append(module.step_loss())
        smooth = smoothed(self.losses)
        trainer.should_stop = len(smooth) == self.steps or smooth[-1] > 4 * min(smooth)


def smoothed(losses: list[float]) -> list[float]:
    """Exponential averages without the bias of their start."""
    mean, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**number))
    return found


def try_rates(cfg: DictConfig, steps: int) -> tuple[list[float], list[float]]:
    """Learning rates, growing from step to step, and the losses of the recipe's steps with them (Smith 2015, arXiv
    1506.01186, section 3.3).

    Raises:
        UserError: see lineage/assemble.py.
    """
    callback = Rates(steps)
    trainer, module, data = _training(cfg, callback)
    rate, per_epoch = cfg.recipe.lr, module.steps_per_epoch
    epochs = math.ceil(steps / per_epoch)
    module.recipe = dataclasses.replace(
        module.recipe, lr=rate * LOWEST, schedule="exponential", schedule_interval="step", decay_rate=HIGHEST / LOWEST,
        decay_epochs=[steps / per_epoch], epochs=epochs, cooldown_epochs=0, warmup_epochs=0, swa=0, swa_lr=0,
    )  # fmt: skip
    module.total_steps, data.epochs, trainer.fit_loop.max_epochs = steps, epochs, epochs
    with suppress(Diverged):  # as far as it came
        trainer.fit(module, datamodule=data)
    growth = (HIGHEST / LOWEST) ** (1 / steps)
    return [rate * LOWEST * growth**step for step in range(len(callback.losses))], callback.losses


def rate_to_try(rates: list[float], losses: list[float]) -> float:
    """A tenth of the rate at which the smoothed loss was least."""
    smooth = smoothed(losses)
    return rates[smooth.index(min(smooth))] / 10


def _training(cfg: DictConfig, callback: Callback) -> tuple[Trainer, Classifier, ImageDataModule]:
    network = assemble.network(cfg, weights=True)
    trainer = assemble.trainer(cfg, network, callbacks=[callback])
    trainer.limit_val_batches = 0
    data = assemble.data(cfg)
    return trainer, assemble.classifier(cfg, network, data, trainer), data


class Speed(NamedTuple):
    """Of a micro-batch: its images, images per second, the most bytes of memory, and why it failed if it did."""

    images: int
    per_second: float = 0
    memory: int = 0
    failure: str = ""


class Clock(Callback):
    """Times the steps after the first ones, and ends the training after SECONDS."""

    start, steps, seconds = math.inf, 0, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        self.steps += 1
        if self.steps >= WARM_STEPS:
            module.step_loss()  # waits for the device
            self.start = min(self.start, time.monotonic())
            self.seconds = time.monotonic() - self.start
        trainer.should_stop = self.seconds > SECONDS


def try_batches(cfg: DictConfig) -> list[Speed]:
    """The speed of ever larger micro-batches, each in a process of its own, up to the recipe's batch or the first that
    fails."""
    cfg, spawn = copy.deepcopy(cfg), multiprocessing.get_context("spawn")
    OmegaConf.resolve(cfg)
    images, found = min(8, cfg.recipe.batch_size), list[Speed]()
    while images <= cfg.recipe.batch_size and not (found and found[-1].failure):
        with ProcessPoolExecutor(1, spawn) as process:
            try:
                found.append(process.submit(_measure, cfg, images).result())
            except UserError as error:
                found.append(Speed(images, failure=str(error)))
            except (RuntimeError, MemoryError) as error:  # the system kills a process that takes all memory
                if not isinstance(error, MemoryError | BrokenProcessPool) and "allocate" not in str(error):
                    raise
                found.append(Speed(images, failure="out of memory"))
        images *= 2
    return found


def _measure(cfg: DictConfig, images: int) -> Speed:
    cfg.recipe.batch_size = cfg.recipe.device_batch = images
    clock = Clock()
    trainer, module, data = _training(cfg, clock)
    trainer.fit_loop.max_epochs = data.epochs = 1000
    trainer.fit(module, datamodule=data)
    speed = images * (clock.steps - WARM_STEPS) / clock.seconds
    return Speed(images, speed, peak_memory(trainer.strategy.root_device))
