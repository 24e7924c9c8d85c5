"""The learning rate over training."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from lineage.recipes.keys.length import Length
from lineage.recipes.keys.optimization import Optimization
from lineage.recipes.keys.values import Epochs, Rate, Share
from lineage.text import as_yaml

ScheduleName = Annotated[
    str, Literal["constant", "step", "multistep", "exponential", "list", "plateau", "linear", "cosine"]
]
Interval = Annotated[str, Literal["epoch", "step"]]


@dataclass(kw_only=True)
class Schedule(Optimization, Length):
    schedule: ScheduleName  # how the learning rate goes from lr over the epochs
    schedule_interval: Interval  # the rate changes every "epoch" (timm, the papers) or every "step"
    decay_rate: Share = 0.0  # step, multistep, exponential, plateau: factor of each decay
    # multistep, list: when the rate changes; step, exponential: one period.
    decay_epochs: list[Annotated[float, "0 < x <= 1000000"]] = field(default_factory=list)
    lrs: list[Rate] = field(default_factory=list)  # list: before, between and after decay_epochs; first lr
    patience: Annotated[int, "0 <= x <= 100000"] = 0  # plateau: epochs without a better val_top1 before a decay
    max_decays: Annotated[int, "0 <= x <= 1000"] = 0  # plateau: decays in all; a further one ends the training
    warmup_epochs: Epochs = 0.0  # the first ones, in which the rate rises
    warmup_lr: Rate = 0.0  # where warm-up starts, linearly to lr
    warmup_factor: Share = 0.0  # or: a factor of the schedule's rate, linear from this value to 1
    after_warmup: bool = False  # the schedule begins at the end of warm-up and covers the remaining epochs
    min_lr: Rate = 0.0  # linear, cosine: where they end
    whiten_bias_epochs: Epochs = 0.0  # a whitening layer's bias is trained in the first of them alone; 0: in all
    whiten_bias_decay: bool = False  # and its rate falls to 0 by then, in a straight line

    def problems(self) -> Iterator[str]:
        name, decays = self.schedule, as_yaml(self.decay_epochs)
        if name in ("step", "exponential") and len(self.decay_epochs) != 1:
            yield f"decay_epochs={decays}: {name} needs one period, [30]."
        if name in ("multistep", "list"):
            if not self.decay_epochs or sorted(set(self.decay_epochs)) != self.decay_epochs:
                yield f"decay_epochs={decays}: schedule {name} needs them in order, [30,60]."
            length = self.epochs - (self.warmup_epochs if self.after_warmup else 0)
            if self.decay_epochs[-1] >= length:
                yield f"decay_epochs={decays}: the schedule's {length:g} epochs end before the last."
        decaying = name in ("step", "multistep", "exponential", "plateau")
        if decaying != bool(self.decay_rate):
            need = "needs a factor, 0.1 for example" if decaying else "has none, 0"
            yield f"decay_rate={self.decay_rate:g}: schedule {name} {need}."
        if name in ("constant", "linear", "cosine", "plateau") and self.decay_epochs:
            yield f"decay_epochs={decays}: schedule {name} has none; []."
        if (name == "list") != bool(self.lrs):
            yield f"lrs={as_yaml(self.lrs)}: rates for schedule list, and for it alone."
        if name == "list" and (len(self.lrs) != len(self.decay_epochs) + 1 or self.lrs[0] != self.lr):
            yield f"lrs={as_yaml(self.lrs)}: one more than decay_epochs={decays}, the first is lr={self.lr:g}."
        if (name == "plateau") != bool(self.patience) or (name == "plateau") != bool(self.max_decays):
            yield "patience, recipe.max_decays: schedule plateau needs both, 5 and 3; others neither."
        if self.min_lr and name not in ("linear", "cosine"):
            yield f"min_lr={self.min_lr:g}: schedule {name} does not use it; set 0."
        if self.min_lr > self.lr:
            yield f"min_lr={self.min_lr:g}: it is above recipe.lr={self.lr:g}."
        if self.whiten_bias_decay and not self.whiten_bias_epochs:
            yield "whiten_bias_decay=true: it needs recipe.whiten_bias_epochs."
        yield from self._warmup_problems()

    def _warmup_problems(self) -> Iterator[str]:
        if self.warmup_epochs > self.epochs:
            yield f"warmup_epochs={self.warmup_epochs:g}: longer than recipe.epochs={self.epochs}."
        for name in ("warmup_lr", "warmup_factor", "after_warmup"):
            if getattr(self, name) and not self.warmup_epochs:
                yield f"{name}={as_yaml(getattr(self, name))}: it needs recipe.warmup_epochs."
        if self.after_warmup and self.warmup_epochs == self.epochs:
            yield "after_warmup=true: warm-up takes all epochs; nothing is left for the schedule."
        if self.warmup_lr > self.lr:
            yield f"warmup_lr={self.warmup_lr:g}: warm-up leads to recipe.lr={self.lr:g}, below it."
        if self.warmup_lr and self.warmup_factor:
            yield "warmup_lr and recipe.warmup_factor: choose one."
        if self.warmup_epochs and not (self.warmup_lr or self.warmup_factor) and self.schedule_interval == "epoch":
            yield "warmup_lr=0: the whole first epoch would have rate 0; give a start, or schedule_interval=step."
        if self.schedule == "plateau" and self.cooldown_epochs:
            yield "cooldown_epochs: the end of schedule plateau is not known in advance; set 0."
        if self.schedule == "plateau" and self.warmup_epochs:
            yield "warmup_epochs: schedule plateau has no warm-up; set 0."
