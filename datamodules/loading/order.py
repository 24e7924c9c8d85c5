"""The order of an epoch as a function of (seed, epoch), and its split over devices."""

import math
from dataclasses import dataclass, field

import numpy
import torch
from torch import Tensor

from lineage.datamodules.errors import DataError

RUNS_PER_WINDOW = 16  # runs of neighbouring images that are shuffled together


@dataclass(frozen=True)
class EpochOrder:
    """The order of the training images.

    Args:
        samples: number of training images.
        batch_size: images of one optimiser step, over all devices and micro-batches.
        repeats: times that an image is drawn in a row (repeated augmentation, arXiv 1902.05509). An epoch keeps its
            length and has `repeats` times fewer distinct images.
        drop_last: leave out an incomplete last batch; otherwise it is a smaller step.
        seed: the run's.
        passes: times that an epoch goes through the data, each in a new permutation; 0 and 1: once.
        window: images among which the order is random before it moves on; 0: all of them.
        weights: (samples,), how often an image comes, relative to others; None: all as often.
        limit: at most this number of steps in an epoch (int), or this share of them (float, at most 1).

    An epoch shorter than one step continues with further permutations until the step is full.
    """

    samples: int
    batch_size: int
    repeats: int
    drop_last: bool
    seed: int
    passes: int = 0
    window: int = 0
    limit: int | float = 1.0
    weights: numpy.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def offered(self) -> int:
        """Images of an epoch, before its last step is dropped or filled."""
        return self.samples * max(self.passes, 1)

    @property
    def steps_per_epoch(self) -> int:
        whole, rest = divmod(self.offered, self.batch_size)
        steps = max(whole if self.drop_last else whole + bool(rest), 1)
        return min(self.limit, steps) if isinstance(self.limit, int) else max(int(steps * self.limit), 1)

    @property
    def images_per_epoch(self) -> int:
        filled = self.steps_per_epoch * self.batch_size
        return filled if self.offered < self.batch_size or self.drop_last else min(filled, self.offered)

    def epoch(self, epoch: int) -> Tensor:
        """The epoch's images in order: (images_per_epoch, 3) int64 of epoch, sample, repetition."""
        repeats, length = max(self.repeats, 1), self.images_per_epoch
        rounds = math.ceil(length / (self.samples * repeats))
        columns = []
        for i in range(rounds):
            rng = numpy.random.default_rng((self.seed, epoch, i))
            permutation = windowed_permutation(self.samples, self.window, rng)
            if self.weights is not None:
                permutation = drawn(permutation, self.weights, self.window, rng)
            sample = numpy.repeat(permutation, repeats)
            repetition = numpy.tile(numpy.arange(i * repeats, (i + 1) * repeats), self.samples)
            columns.append(numpy.stack((numpy.full_like(sample, epoch), sample, repetition), axis=1))
        keys = numpy.concatenate(columns)[:length]
        if self.weights is not None:  # an image may come at any place again
            keys[:, 2] = numpy.arange(length)
        return torch.from_numpy(keys)


def windowed_permutation(samples: int, window: int, rng: numpy.random.Generator) -> numpy.ndarray:
    """A permutation of range(samples), (samples,) int64, in which `window` images in a row lie close together on disk.

    Runs of neighbouring images are permuted, then the images of each window are shuffled. Shards hold images in random
    order, so a run is a random sample too.

    Args:
        window: 0: any permutation.
    """
    if window == 0:
        return rng.permutation(samples)
    window = min(window, samples)
    run = -(-window // RUNS_PER_WINDOW)
    starts = rng.permutation(numpy.arange(0, samples, run))
    order = (starts[:, None] + numpy.arange(run)).ravel()
    order = order[order < samples]
    for start in range(0, samples, window):
        rng.shuffle(order[start : start + window])
    return order


def image_weights(labels: numpy.ndarray, sampling: str) -> numpy.ndarray | None:
    """How often each image of labels (N,) comes, (N,): so that a class of n images comes in proportion to n^q, with
    q = 0 for "balanced", 1/2 for "sqrt" (Kang et al. 2019, arXiv 1910.09217, equation 1). None for "uniform", q = 1."""
    if sampling == "uniform":
        return None
    return numpy.bincount(labels)[labels] ** {"balanced": -1.0, "sqrt": -0.5}[sampling]


def drawn(order: numpy.ndarray, weights: numpy.ndarray, window: int, rng: numpy.random.Generator) -> numpy.ndarray:
    """As many images as in `order`, each as often as its weight says, rounded down or up: systematic sampling. Images
    stay within `window` of their place."""
    ends = numpy.cumsum(weights[order])
    points = (numpy.arange(len(order)) + rng.random()) * (ends[-1] / len(order))
    found = order[numpy.searchsorted(ends, points, side="right").clip(max=len(order) - 1)]
    for start in range(0, len(found), window or len(found)):
        rng.shuffle(found[start : start + (window or len(found))])
    return found


@dataclass(frozen=True)
class BatchSplit:
    """The split of a step's batch into K = devices x accumulation chunks. Chunk k has every K-th image, from image k.

    Micro-batch i of device r is chunk i x devices + r. The chunks, and what happens in them, depend on K alone: two
    devices with one micro-batch each take the same step as one device with two.
    """

    devices: int = 1
    accumulation: int = 1

    @property
    def chunks(self) -> int:
        return self.devices * self.accumulation

    def chunks_of(self, rank: int) -> list[int]:
        """The chunks of one device, in the order in which it works on them."""
        return [i * self.devices + rank for i in range(self.accumulation)]


def split_batch(batch_size: int, device_batch: int, devices: int, max_per_device: int | None = None) -> BatchSplit:
    """The split into the fewest chunks of equal size that have at most `device_batch` images. Raises DataError:
    batch_size is not a multiple of the devices; the message names the nearest that is.

    Args:
        device_batch: images that batch normalisation and mixing see at once by the recipe; 0: the whole batch.
        max_per_device: most images of a chunk that fit into a device's memory; None: any number does.
    """
    if batch_size % devices:
        low = batch_size // devices * devices
        near = f"{low} or {low + devices}" if low else str(devices)
        raise DataError(f"recipe.batch_size={batch_size} does not divide over {devices} devices; {near} does.")
    share = batch_size // devices
    most = min(device_batch or batch_size, max_per_device or batch_size)
    accumulation = next(n for n in range(math.ceil(share / most), share + 1) if share % n == 0)
    return BatchSplit(devices, accumulation)


def check_last_step(order: EpochOrder, split: BatchSplit) -> None:
    """Raise DataError if the smaller last step of an epoch leaves a micro-batch without an image."""
    last = order.images_per_epoch % order.batch_size
    if 0 < last < split.chunks:
        raise DataError(
            f"The last step of an epoch has {last} images for {split.chunks} micro-batches: "
            "set recipe.drop_last=true or another recipe.batch_size."
        )
