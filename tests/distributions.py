"""Random numbers, and Kolmogorov-Smirnov distances of distributions, scaled so that 1.63 is the 1 % level."""

import torch
from torch import Tensor

from lineage.recipes.augment.randomness import ImageDraws


def uniform(seed: int, name: str, sample_keys: Tensor, count: int) -> Tensor:
    """The numbers that an augmentation draws under one name, (B, count)."""
    return ImageDraws(seed, {name: count})(sample_keys)[name]


def distance_from_uniform(numbers: Tensor) -> float:
    """The distance of numbers from U[0, 1)."""
    numbers = numbers.flatten().double().sort().values
    steps = torch.arange(len(numbers) + 1, dtype=torch.float64) / len(numbers)
    apart = torch.maximum((numbers - steps[:-1]).abs().max(), (numbers - steps[1:]).abs().max())
    return float(apart) * len(numbers) ** 0.5


def distance_of_samples(first: Tensor, second: Tensor) -> float:
    """The distance of two samples from each other."""
    first, second = first.double().sort().values, second.double().sort().values
    at = torch.cat((first, second))
    below = (torch.searchsorted(sample, at, right=True) / len(sample) for sample in (first, second))
    apart = float((next(below) - next(below)).abs().max())
    return apart * (len(first) * len(second) / (len(first) + len(second))) ** 0.5
