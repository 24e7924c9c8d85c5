"""The learning rate as a pure function of the step; no scheduler object, no state to save.

Time is counted in ticks: epochs with schedule_interval "epoch", as in the papers and in timm, or optimiser steps. What
a YAML says in epochs becomes ticks without rounding, 2.4 epochs of 625 steps are 1,500, so that a rate falls at the
first tick that is not before its instant, as integers tell it.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import NamedTuple

from lineage.recipes.recipe import Recipe


class Time(NamedTuple):
    """The place in a schedule, in ticks: since it began, of its whole length, of an epoch."""

    now: int | Fraction
    length: int | Fraction
    per_epoch: int
    decays: int = 0  # of schedule plateau, so far

    def of(self, epochs: float) -> Fraction:
        """A number of epochs in ticks."""
        return as_fraction(epochs) * self.per_epoch

    def passed(self, epochs: list[float]) -> int:
        """How many of these instants are not after now."""
        return sum(self.now >= self.of(instant) for instant in epochs)


@functools.cache
def as_fraction(number: float) -> Fraction:
    """What the YAML says: 2.4 is 12/5, and not the binary number beside it."""
    return Fraction(repr(number))


def constant(recipe: Recipe, time: Time) -> float:
    return recipe.lr


def step(recipe: Recipe, time: Time) -> float:
    """Multiply by decay_rate every decay_epochs; TensorFlow's exponential_decay(staircase=True) by the step."""
    return recipe.lr * recipe.decay_rate ** int(time.now // time.of(recipe.decay_epochs[0]))


def multistep(recipe: Recipe, time: Time) -> float:
    """Multiply by decay_rate after each of decay_epochs, so that 60 epochs are before 60."""
    return recipe.lr * recipe.decay_rate ** time.passed(recipe.decay_epochs)


def exponential(recipe: Recipe, time: Time) -> float:
    """Decay without jumps: by decay_rate over each decay_epochs (Dollar et al. 2021: 0.02^(t/400))."""
    return recipe.lr * recipe.decay_rate ** float(time.now / time.of(recipe.decay_epochs[0]))


def listed(recipe: Recipe, time: Time) -> float:
    """A rate for each interval between decay_epochs (LeCun et al. 1998, section III-B)."""
    return recipe.lrs[time.passed(recipe.decay_epochs)]


def plateau(recipe: Recipe, time: Time) -> float:
    """Multiply by decay_rate each time that Plateau says so."""
    return recipe.lr * recipe.decay_rate ** min(time.decays, recipe.max_decays)


def linear(recipe: Recipe, time: Time) -> float:
    """Straight from lr to min_lr."""
    return recipe.lr + (recipe.min_lr - recipe.lr) * float(Fraction(time.now) / time.length)


def cosine(recipe: Recipe, time: Time) -> float:
    """Half a cosine from lr to min_lr (arXiv 1608.03983, equation 5)."""
    return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * time.now / time.length))


SCHEDULES = {f.__name__: f for f in (constant, step, multistep, exponential, plateau, linear, cosine)} | {
    "list": listed
}


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, decays: int = 0) -> float:
    """The learning rate of optimiser step `step`, counted from 0 over the whole run.

    The schedule begins with the first step, and warm-up stands in its place for a while, as in timm
    (warmup_prefix=False) and in EfficientNet's code; with `after_warmup` it begins where warm-up ends, and takes the
    epochs that are left, as torchvision's (SequentialLR). Warm-up is a straight line from warmup_lr to lr, or with
    warmup_factor the schedule's own rate times a line from it to 1, as in pycls. In steps it is whole steps long.

    The last `swa` epochs have the rate swa_lr, if there is one; cooldown_epochs have that of the schedule's end.

    Args:
        decays: of schedule plateau, so far.
    """
    per_epoch = 1 if recipe.schedule_interval == "epoch" else steps_per_epoch
    end = recipe.epochs * per_epoch
    now = min(step * per_epoch // steps_per_epoch, end)
    if recipe.swa_lr and now >= end - recipe.swa * per_epoch:
        return recipe.swa_lr * rate_scale(recipe)

    warmup = as_fraction(recipe.warmup_epochs) * per_epoch
    if recipe.schedule_interval == "step":
        warmup = Fraction(math.floor(warmup))
    start = warmup if recipe.after_warmup else 0
    time = Time(max(now - start, 0), end - start, per_epoch, decays)
    if now >= warmup or recipe.warmup_factor:
        rate = SCHEDULES[recipe.schedule](recipe, time)
    else:
        rate = recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * float(now / warmup)
    if now < warmup and recipe.warmup_factor:
        alpha = float(now / warmup)
        rate *= recipe.warmup_factor * (1 - alpha) + alpha
    return rate * rate_scale(recipe)


def rate_scale(recipe: Recipe) -> float:
    """What lr_scaling multiplies every rate with: the peak, both ends and those of a list.

    A step over k times the images stands for k steps (Goyal et al. 2017, arXiv 1706.02677, section 2.1), those of
    warm-up and of the end too, so the whole curve is scaled. Swin's code does so; timm and DeiT scale the peak alone.
    """
    if recipe.lr_scaling == "none":
        return 1.0
    ratio = recipe.batch_size / recipe.lr_batch
    return ratio if recipe.lr_scaling == "linear" else math.sqrt(ratio)


class Plateau:
    """Counts the decays of schedule plateau: one after `patience` epochs without a better accuracy.

    torch's ReduceLROnPlateau with patience - 1 and threshold 0, which waits for one epoch more than its patience.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.patience, self.max_decays = recipe.patience, recipe.max_decays
        self.decays = self.waited = 0
        self.best = -math.inf

    @property
    def ended(self) -> bool:
        """Whether a decay more than the last one would be due."""
        return self.decays > self.max_decays

    def after_epoch(self, accuracy: float) -> None:
        self.waited = 0 if accuracy > self.best else self.waited + 1
        self.best = max(self.best, accuracy)
        if self.waited >= self.patience:
            self.decays, self.waited = self.decays + 1, 0

    def state_dict(self) -> dict:
        return {"decays": self.decays, "waited": self.waited, "best": self.best}

    def load_state_dict(self, state: dict) -> None:
        self.decays, self.waited, self.best = state["decays"], state["waited"], state["best"]
