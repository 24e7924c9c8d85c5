"""The learning rate as a pure function of the step: no scheduler object, no state to save.

Time is counted in ticks. A tick is an epoch with schedule_interval "epoch", as in the papers and in timm, or an
optimiser step. Epochs in the YAML are converted to ticks without rounding (2.4 epochs of 625 steps are 1,500), and a
milestone takes effect at the first tick that is not before it.
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from lineage.recipes.recipe import Recipe


class Time(NamedTuple):
    """A point of a schedule, in ticks."""

    now: int | Fraction  # since the schedule began
    length: int | Fraction  # of the whole schedule
    per_epoch: int
    decays: int = 0  # so far, of schedule plateau

    def ticks(self, epochs: float) -> Fraction:
        return as_fraction(epochs) * self.per_epoch

    def milestones_passed(self, epochs: list[float]) -> int:
        return sum(self.now >= self.ticks(milestone) for milestone in epochs)


@functools.cache
def as_fraction(number: float) -> Fraction:
    """The decimal number that the YAML says: 2.4 is 12/5, not the nearest binary number."""
    return Fraction(repr(number))


# The rate, by the name of the schedule.
SCHEDULES: dict[str, Callable[[Recipe, Time], float]] = {
    "constant": lambda recipe, time: recipe.lr,
    # Multiply by decay_rate every decay_epochs, as TensorFlow's exponential_decay(staircase=True).
    "step": lambda recipe, time: recipe.lr * recipe.decay_rate ** int(time.now // time.ticks(recipe.decay_epochs[0])),
    # The same at each of decay_epochs; epochs count from 0, so 60 of them come before milestone 60.
    "multistep": lambda recipe, time: recipe.lr * recipe.decay_rate ** time.milestones_passed(recipe.decay_epochs),
    # Decay smoothly, by decay_rate over every decay_epochs (Dollar et al. 2021: 0.02^(t/400)).
    "exponential": lambda recipe, time: (
        recipe.lr * recipe.decay_rate ** float(time.now / time.ticks(recipe.decay_epochs[0]))
    ),
    # One of `lrs` for each interval between decay_epochs (LeCun et al. 1998, section III-B).
    "list": lambda recipe, time: recipe.lrs[time.milestones_passed(recipe.decay_epochs)],
    # Multiply by decay_rate at each decay that Plateau counts.
    "plateau": lambda recipe, time: recipe.lr * recipe.decay_rate ** min(time.decays, recipe.max_decays),
    # A straight line from lr to min_lr.
    "linear": lambda recipe, time: recipe.lr + (recipe.min_lr - recipe.lr) * float(Fraction(time.now) / time.length),
    # Half a cosine from lr to min_lr (arXiv 1608.03983, equation 5).
    "cosine": lambda recipe, time: (
        recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * time.now / time.length))
    ),
}


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, decays: int = 0) -> float:
    """The learning rate of optimiser step `step`, counted from 0 over the whole run.

    The schedule begins at the first step, and warm-up replaces its first part, as in timm (warmup_prefix=False) and in
    EfficientNet's code. With `after_warmup` it begins at the end of warm-up and covers the remaining epochs, as in
    torchvision (SequentialLR). Warm-up is a straight line from warmup_lr to lr; with warmup_factor it is the schedule
    times a line from warmup_factor to 1, as in pycls. With schedule_interval "step" it takes whole steps.

    The last `swa` epochs have the rate swa_lr, if it is set; cooldown_epochs have the last rate of the schedule.

    Args:
        decays: so far, of schedule plateau.
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
    if now < warmup and not recipe.warmup_factor:
        return (recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * float(now / warmup)) * rate_scale(recipe)
    rate = SCHEDULES[recipe.schedule](recipe, Time(max(now - start, 0), end - start, per_epoch, decays))
    if now < warmup:
        share = float(now / warmup)
        rate *= recipe.warmup_factor * (1 - share) + share
    return rate * rate_scale(recipe)


def whiten_bias_rate(recipe: Recipe, step: int, steps_per_epoch: int, rate: float) -> float:
    """The rate of the bias of a whitening layer where the others' is `rate`: 0 after whiten_bias_epochs."""
    end = math.ceil(as_fraction(recipe.whiten_bias_epochs) * steps_per_epoch)
    if step >= end:
        return 0.0
    return recipe.lr * rate_scale(recipe) * (1 - step / end) if recipe.whiten_bias_decay else rate


def rate_scale(recipe: Recipe) -> float:
    """The factor of lr_scaling, for the whole curve: lr, warmup_lr, min_lr, swa_lr and lrs.

    A step over k times as many images replaces k steps (Goyal et al. 2017, arXiv 1706.02677, section 2.1), those of
    warm-up and of the end too. Swin's code scales the whole curve as well; timm and DeiT scale the peak alone.
    """
    if recipe.lr_scaling == "none":
        return 1.0
    ratio = recipe.batch_size / recipe.lr_batch
    return ratio if recipe.lr_scaling == "linear" else math.sqrt(ratio)


class Plateau:
    """Counts the decays of schedule plateau: one after every `patience` epochs without a better accuracy.

    It equals torch's ReduceLROnPlateau with threshold 0 and patience - 1, since torch waits one epoch longer than its
    patience.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.patience, self.max_decays = recipe.patience, recipe.max_decays
        self.decays, self.waited, self.best = 0, 0, -math.inf

    @property
    def ended(self) -> bool:
        """Whether training should stop: a decay is due after the last allowed one."""
        return self.decays > self.max_decays

    def after_epoch(self, accuracy: float) -> None:
        self.waited = 0 if accuracy > self.best else self.waited + 1
        self.best = max(self.best, accuracy)
        if self.waited >= self.patience:
            self.decays, self.waited = self.decays + 1, 0

    def state_dict(self) -> dict:
        return {"decays": self.decays, "waited": self.waited, "best": self.best}

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)
