"""Randomness as a function, not a state (law 3 of the design).

An augmentation is a function of (seed, epoch, sample, repetition), mixing of (seed, step), dropout and stochastic depth
of (seed, step, micro-batch). So the number of workers changes nothing, and a run resumes at any step.
"""

from __future__ import annotations

import hashlib
import random

import torch
from torch import Tensor


def number(*key: object) -> int:
    """63 bits that are a function of the key, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1


def generator(*key: object) -> random.Random:
    """A generator of Python numbers that is a function of the key."""
    return random.Random(number(*key))


def uniform(seed: int, name: str, origin: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), (B, count) float32, each row a function of (seed, name, origin of the image).

    Args:
        origin: (B, 3) int64, the epoch, sample and repetition of each image.

    Counter-based, as Philox or JAX do: a hash of the key, here the finaliser of splitmix64 (Steele et al. 2014), whose
    int64 products wrap around. The 24 high bits give every float32 in [0, 1) that 24 bits can.
    """
    state = torch.full_like(origin[:, 0], number(seed, name))
    for column in origin.unbind(1):
        state = _scramble(state + column)
    counter = torch.arange(1, count + 1, device=origin.device) * -7046029254386353131  # the golden ratio in 64 bits
    bits = _scramble(state[:, None] + counter)
    return ((bits >> 40) & 0xFFFFFF).float() * 2.0**-24


def _scramble(x: Tensor) -> Tensor:
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def normal(seed: int, name: str, origin: Tensor, count: int) -> Tensor:
    """Standard normal numbers, (B, count), by Box and Muller from `uniform`."""
    u = uniform(seed, name, origin, 2 * count)
    radius = torch.sqrt(-2 * torch.log(1 - u[:, :count]))
    return radius * torch.cos(2 * torch.pi * u[:, count:])


def reseed(device: torch.device, *key: object) -> None:
    """Make what dropout and stochastic depth draw next on the device a function of the key.

    The generator's own method: torch.manual_seed, which visits every backend, takes 200 times as long.
    """
    torch.default_generator.manual_seed(number(*key))
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number(*key))
