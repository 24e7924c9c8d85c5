"""The learning rate over training."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from lineage.recipes.keys.values import Epochs, Rate, Share

ScheduleName = Annotated[
    str, Literal["constant", "step", "multistep", "exponential", "list", "plateau", "linear", "cosine"]
]
Interval = Annotated[str, Literal["epoch", "step"]]


@dataclass(kw_only=True)
class Schedule:
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
