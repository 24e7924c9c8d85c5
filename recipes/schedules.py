"""The learning rate as a pure function of the step; no scheduler object, no state to save."""

from __future__ import annotations

import math

from recipes.recipe import Recipe


def constant(recipe: Recipe, epoch: float) -> float:
    return recipe.lr


def step(recipe: Recipe, epoch: float) -> float:
    """Multiply by decay_rate every decay_epochs."""
    return recipe.lr * recipe.decay_rate ** (epoch // recipe.decay_epochs[0])


def multistep(recipe: Recipe, epoch: float) -> float:
    """Multiply by decay_rate at each of decay_epochs."""
    return recipe.lr * recipe.decay_rate ** sum(epoch >= milestone for milestone in recipe.decay_epochs)


def exponential(recipe: Recipe, epoch: float) -> float:
    """Decay without jumps: by decay_rate over each decay_epochs (Dollar et al. 2021: 0.02^(t/400))."""
    return recipe.lr * recipe.decay_rate ** (epoch / recipe.decay_epochs[0])


def linear(recipe: Recipe, epoch: float) -> float:
    """Straight from lr, at the end of warm-up, to min_lr at the end."""
    length = max(recipe.epochs - recipe.warmup_epochs, 1e-12)
    return recipe.lr + (recipe.min_lr - recipe.lr) * (epoch - recipe.warmup_epochs) / length


def cosine(recipe: Recipe, epoch: float) -> float:
    """Half a cosine over all epochs, those of warm-up included, as in timm (warmup_prefix=False)."""
    return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * epoch / recipe.epochs))


SCHEDULES = {f.__name__: f for f in (constant, step, multistep, exponential, linear, cosine)}


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, decays: int = 0) -> float:
    """The learning rate of optimiser step `step`, counted from 0 over the whole run.

    With schedule_interval "epoch" it is that of the epoch's start, as in the papers and in timm.
    """
    epoch: float = step // steps_per_epoch if recipe.schedule_interval == "epoch" else step / steps_per_epoch
    if epoch < recipe.warmup_epochs:
        return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * epoch / recipe.warmup_epochs
    return SCHEDULES[recipe.schedule](recipe, epoch)


class Plateau:
    """Counts the decays of schedule plateau: one after `patience` epochs without a better accuracy."""

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
