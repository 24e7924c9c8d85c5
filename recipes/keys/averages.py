"""Averages of the weights, used for validation and test, and the statistics of batch normalisation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from lineage.recipes.keys.schedule import Schedule
from lineage.recipes.keys.values import BelowOne, Rate


@dataclass(kw_only=True)
class Averages(Schedule):
    ema: BelowOne = 0.0  # decay at each update
    ema_every: Annotated[int, "0 <= x <= 1000000"] = 0  # steps between two updates; 0 and 1: every step
    ema_ramp: bool = False  # decay min(ema, (1 + n) / (10 + n)) at update n, as TensorFlow's num_updates
    ema_warmup_copy: bool = False  # during warm-up the average is the weights (pycls, torchvision)
    swa: Annotated[int, "0 <= x <= 1000000"] = 0  # equal average over this many last epochs (arXiv 1803.05407)
    swa_lr: Rate = 0.0  # constant rate of these epochs; 0: the schedule's
    precise_bn: Annotated[int, "0 <= x <= 100000000"] = 0  # images to compute BN statistics from, for evaluations

    def problems(self) -> Iterator[str]:
        if self.ema and self.swa:
            yield "ema and recipe.swa: choose one."
        for name in ("ema_every", "ema_ramp", "ema_warmup_copy"):
            if getattr(self, name) and not self.ema:
                yield f"{name}: it acts on recipe.ema, which is 0."
        if self.ema_warmup_copy and not self.warmup_epochs:
            yield "ema_warmup_copy=true: it needs recipe.warmup_epochs."
        if self.swa > self.epochs:
            yield f"swa={self.swa}: more epochs than recipe.epochs={self.epochs}."
        if self.swa and self.cooldown_epochs:
            yield "swa and recipe.cooldown_epochs: both say how the training ends; choose one."
        if self.swa_lr and not self.swa:
            yield "swa_lr: it is the rate of the last recipe.swa epochs: set recipe.swa."
        if self.swa_lr and self.swa + self.warmup_epochs >= self.epochs:
            yield f"swa_lr={self.swa_lr:g}: warm-up and the last swa={self.swa} epochs leave none to the schedule."
        if self.swa and self.schedule == "plateau":
            yield "swa: the end of schedule plateau is not known in advance; choose another."
