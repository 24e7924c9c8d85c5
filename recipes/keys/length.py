"""How long, how many at a time, at which size, and which part of the network."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.recipes.keys.key import RecipeError, key
from lineage.text import as_yaml

FINETUNE = ("", "classifier")


@dataclass
class Length:
    # A data set with a native size (digits, MNIST, CIFAR) keeps it; train_res and test_res speak to the others.
    epochs: int = key(low=1, high=1_000_000)
    cooldown_epochs: int = key(0, high=100_000)  # more epochs after them, at the rate of the schedule's end
    passes: int = key(0, high=1_000)  # times that an epoch goes through the data; 0 and 1: once
    batch_size: int = key(low=1, high=10_000_000)  # images of one step, over all devices and micro-batches
    train_res: int = key(low=1, high=8192)  # pixels
    progressive_res: list[int] = key([], low=1, high=8192)  # sizes in equal shares of the epochs, train_res the last
    test_res: int = key(low=1, high=8192)  # pixels
    finetune: str = key("", choices=FINETUNE)  # classifier: it alone is trained, and the last BN's statistics move

    @property
    def total_epochs(self) -> int:
        return self.epochs + self.cooldown_epochs

    def check_length(self) -> None:
        if self.progressive_res and self.progressive_res[-1] != self.train_res:
            raise RecipeError(
                f"recipe.progressive_res={as_yaml(self.progressive_res)}: it ends with train_res={self.train_res}."
            )
        if len(self.progressive_res) > self.epochs:
            raise RecipeError(
                f"recipe.progressive_res={as_yaml(self.progressive_res)}: more sizes than epochs={self.epochs}."
            )
