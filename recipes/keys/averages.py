"""Averages of the weights, used for validation and test, and the statistics of batch normalisation."""

from dataclasses import dataclass
from typing import Annotated

from lineage.recipes.keys.values import BelowOne, Rate


@dataclass(kw_only=True)
class Averages:
    ema: BelowOne = 0.0  # decay at each update
    ema_every: Annotated[int, "0 <= x <= 1000000"] = 0  # steps between two updates; 0 and 1: every step
    ema_ramp: bool = False  # decay min(ema, (1 + n) / (10 + n)) at update n, as TensorFlow's num_updates
    ema_warmup_copy: bool = False  # during warm-up the average is the weights (pycls, torchvision)
    swa: Annotated[int, "0 <= x <= 1000000"] = 0  # equal average over this many last epochs (arXiv 1803.05407)
    swa_lr: Rate = 0.0  # constant rate of these epochs; 0: the schedule's
    precise_bn: Annotated[int, "0 <= x <= 100000000"] = 0  # images to compute BN statistics from, for evaluations
