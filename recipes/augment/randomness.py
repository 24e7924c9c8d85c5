"""Randomness as a function, not a state.

An augmentation is a function of (seed, epoch, sample, repetition), mixing of (seed, step), dropout and stochastic depth
of (seed, step, micro-batch). So the number of workers changes nothing, and a run can resume at any step. The random
numbers of images come from integer arithmetic and a table, so all devices get the same bits, however a batch is split.
"""

import hashlib
import random
from collections.abc import Collection, Mapping

import numpy
import torch
from torch import Tensor, nn

GOLDEN = -7046029254386353131  # the golden ratio in 64 bits, as int64


def key_hash(*key: object) -> int:
    """A hash of the key, 63 bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1


def generator(*key: object) -> random.Random:
    """A Python generator whose seed is a function of the key."""
    return random.Random(key_hash(*key))


class ImageDraws(nn.Module):
    """Uniform numbers in [0, 1) by name: each row a function of (seed, name, sample key), in one hash for all.

    Counter-based, as Philox or JAX's generators: a Weyl sequence over epoch, sample, repetition and column goes
    through the finaliser of splitmix64 (Steele et al. 2014), whose int64 products wrap around.

    Args:
        counts: how many numbers for each name; names with none are left out.
        once: names whose numbers are the same in all epochs.
    """

    strides: Tensor
    starts: Tensor

    def __init__(self, seed: int, counts: Mapping[str, int], once: Collection[str] = ()) -> None:
        super().__init__()
        self.counts = counts = {name: count for name, count in counts.items() if count}
        strides = torch.tensor([key_hash(name) | 1 for name in ("epoch", "sample", "repetition")])
        columns = [torch.arange(1, count + 1) * GOLDEN + key_hash(seed, name) for name, count in counts.items()]
        changing = [name not in once for name, count in counts.items() for _ in range(count)]
        by_column = strides[:, None].repeat(1, len(changing))
        by_column[0] *= torch.tensor(changing, dtype=torch.bool)
        self.register_buffer("strides", by_column, persistent=False)
        self.register_buffer("starts", torch.cat([*columns, torch.zeros(0, dtype=torch.int64)]), persistent=False)

    def forward(self, sample_keys: Tensor) -> dict[str, Tensor]:
        """sample_keys (B, 3) int64, the epoch, sample and repetition of each image -> (B, count) float32 by name."""
        if not self.counts:
            return {}
        bits = scramble((sample_keys[:, :, None] * self.strides).sum(dim=1) + self.starts)
        numbers = ((bits >> 40) & 0xFFFFFF) * 2.0**-24  # multiples of 2^-24, which float32 holds exactly
        return dict(zip(self.counts, numbers.split(list(self.counts.values()), dim=1), strict=True))


def scramble(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 without its last step, which does not change the upper 31 bits."""
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = ((x >> shift) & (2 ** (64 - shift) - 1)).bitwise_xor_(x).mul_(factor)  # the mask makes it a logical shift
    return x


def permutation(length: int, device: torch.device, *key: object) -> Tensor:
    """A permutation (length,) int64 that is a function of the key, made on the device."""
    return torch.argsort(scramble(torch.arange(length, device=device) * GOLDEN + key_hash(*key)))


def normal_quantiles() -> Tensor:
    """The medians of 2^16 equally likely intervals of the standard normal distribution, (65536,) float32.

    Indexed by 16 random bits, they give normal numbers up to 4.3 deviations without log or cos, which devices round
    differently.
    """
    return torch.special.ndtri((torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16).float()


def normal(quantiles: Tensor, uniform: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) to standard normal ones, of the same shape."""
    return quantiles[(uniform * len(quantiles)).long()]


def normal_noise(quantiles: Tensor, counters: Tensor) -> Tensor:
    """Counters (..., w) int64 to standard normal numbers (..., 4 w), one for each 16 bits of a counter's hash."""
    bits = scramble(counters)
    bits ^= (bits >> 31) & 0x1FFFFFFFF
    parts = bits.view(torch.int16).int().add_(2**15)  # -2^15 ... 2^15 - 1 to 0 ... 2^16 - 1
    return quantiles.index_select(0, parts.flatten()).view(parts.shape)


def reseed(device: torch.device, *key: object) -> None:
    """Seed torch's generators, for dropout and stochastic depth, by the key.

    torch.manual_seed would seed every backend and take 200 times as long.
    """
    torch.default_generator.manual_seed(key_hash(*key))
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(key_hash(*key))


def reseed_python(*key: object) -> None:
    """Seed the generators of Python, numpy and torch, for timm's and torchvision's operations on images, by the key."""
    seed = key_hash(*key)
    random.seed(seed)
    numpy.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
