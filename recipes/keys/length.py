"""How long, how many at a time, at which size, and which part of the network."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from lineage.recipes.keys.values import Pixels

Finetune = Annotated[str, Literal["", "classifier"]]


@dataclass(kw_only=True)
class Length:
    epochs: Annotated[int, "1 <= x <= 1000000"]  # that the schedule spans; cooldown_epochs come after them
    cooldown_epochs: Annotated[int, "0 <= x <= 100000"] = 0  # more epochs after them, at the rate of the schedule's end
    passes: Annotated[int, "0 <= x <= 1000"] = 0  # times that an epoch goes through the data; 0 and 1: once
    batch_size: Annotated[int, "1 <= x <= 10000000"]  # images of one step, over all devices and micro-batches
    # Batch normalisation and a `mix_per: chunk` see as many. A step is batch_size / device_batch chunks, rounded up to
    # a number that divides the batch. A changed batch_size keeps device_batch, and with it how batch normalisation
    # behaves (Goyal et al. 2017, arXiv 1706.02677, section 3); a batch that is smaller is one chunk.
    device_batch: Annotated[int, "0 <= x <= 10000000"] = 0  # images that one device of the paper saw at once; 0: all
    # A data set with a native size (digits, MNIST, CIFAR) keeps it.
    train_res: Pixels  # side of a training image, in pixels
    progressive_res: list[Pixels] = field(default_factory=list)  # in equal shares of the epochs; the last is train_res
    test_res: Pixels  # side of an image in validation and test, in pixels; native sizes stay too
    finetune: Finetune = ""  # classifier: train only the classifier, and update the last BN's statistics

    @property
    def total_epochs(self) -> int:
        return self.epochs + self.cooldown_epochs
