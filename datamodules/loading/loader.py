"""Loaders. An item of the training loader is one optimiser step: this device's micro-batches, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch import Tensor

from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, TensorImages
from lineage.datamodules.loading.batch_memory import copy_to, copy_together
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import Job, PendingBatch, Pool


class MicroBatch(NamedTuple):
    """The images of one forward and backward pass: a chunk of a step's batch.

    images: (n, C, H, W) uint8; labels: (n,) int64; sample_keys: (n, 3) int64, the epoch, sample and repetition of each
    image; chunk: the number of this micro-batch among those of the step, over all devices; weight: its share of the
    step's mean loss, times the number of devices, so that the mean over devices is the mean over images.
    """

    images: Tensor
    labels: Tensor
    sample_keys: Tensor
    chunk: int
    weight: float


class Step:
    """This device's micro-batches of an optimiser step. Each is waited for when the step asks for it, so that the
    device computes on the first ones while workers still make the last.

    Args:
        batches: where the micro-batches come from, one after the other.
        count: how many of them are the step's.

    Attributes:
        images: of the micro-batches that were asked for.
    """

    def __init__(self, batches: Iterator[MicroBatch], count: int) -> None:
        self.batches, self.count, self.images = islice(batches, count), count, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[MicroBatch]:
        """The micro-batches that were not asked for yet."""
        for batch in self.batches:
            self.images += len(batch.labels)
            yield batch


class Request(NamedTuple):
    """A micro-batch to be made. key: unique among the requests of a stream."""

    key: tuple[int, int]
    sample_keys: Tensor
    chunk: int
    weight: float


def batch_requests(sample_keys: Tensor, batches: int, chunk: int = 0) -> list[Request]:
    """Sample keys (n, 3) in so many batches of nearly equal size, at least one."""
    return [Request((0, i), batch, chunk, 1.0) for i, batch in enumerate(sample_keys.tensor_split(max(1, batches)))]


def first_repetitions(samples: Tensor) -> Tensor:
    """The sample keys (n, 3) of samples (n,) outside training: epoch 0, repetition 0."""
    zeros = torch.zeros_like(samples)
    return torch.stack((zeros, samples, zeros), dim=1)


@dataclass
class Stream:
    """Makes micro-batches from requests, in their order: in this process, or ahead of time in a pool's processes.

    Args:
        job: its name in the pool.
        source: the images and the view that batches are made of.
        device: where batches go.
        pool: returns the pool, which is made at first use; None: this process makes the batches.
        report: is called with images that cannot be read; raises DataError if they are too many.
    """

    job: str
    source: Job
    device: torch.device
    pool: Callable[[], Pool] | None
    report: Callable[[Iterable[Fault]], None]
    pending: deque[tuple[Request, PendingBatch]] = field(default_factory=deque)

    def __call__(self, requests: Iterator[Request], count: int) -> Iterator[MicroBatch]:
        """The first `count` micro-batches. Some after them are begun, for the next call if it requests them first."""
        if self.pool is None:
            yield from map(self._make, islice(requests, count))
            return
        pool = self.pool()
        requests = self._skip_pending(pool, requests)
        for _ in range(count):
            for request in islice(requests, pool.ahead - len(self.pending)):
                self.pending.append((request, pool.submit(self.job, request.sample_keys)))
            request, batch = self.pending.popleft()
            yield self._micro_batch(request, *pool.result(batch))

    def _skip_pending(self, pool: Pool, requests: Iterator[Request]) -> Iterator[Request]:
        """The requests after those that are pending; if the pending ones are not the first, drop them."""
        first = list(islice(requests, len(self.pending)))
        if [request.key for request in first] == [request.key for request, _ in self.pending]:
            return requests
        while self.pending:
            pool.drop(self.pending.popleft()[1])
        return chain(first, requests)

    def _make(self, request: Request) -> MicroBatch:
        (images, view), keys = self.source, request.sample_keys
        if isinstance(images, TensorImages) and view is None:
            return self._micro_batch(request, images[keys[:, 1]], [])
        shape = self.source.shape(len(keys), int(keys[0, 0]) if len(keys) else 0)
        pin = self.device.type == "cuda"
        out = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last, pin_memory=pin)
        faults = images.fill(out, keys, view) if len(out) else []
        return self._micro_batch(request, copy_to(self.device, out), faults)

    def _micro_batch(self, request: Request, images: Tensor, faults: list[Fault]) -> MicroBatch:
        """Leave out unreadable images. They change nothing, as if their loss were 0: the others keep their share of the
        step, whatever the micro-batches and devices."""
        sample_keys, weight = request.sample_keys, request.weight
        labels = self.source.images.labels[sample_keys[:, 1]]
        if faults:
            self.report(faults)
            unreadable = {fault.row for fault in faults}
            kept = torch.tensor([row for row in range(len(sample_keys)) if row not in unreadable], dtype=torch.int64)
            if self.job == "train" and not len(kept):
                raise DataError(
                    f"None of the {len(sample_keys)} images of a micro-batch can be read, the last is "
                    f"{faults[-1].name}, and a step needs an image: run lineage prepare check=true, or set "
                    "recipe.device_batch higher."
                )
            weight *= len(kept) / len(sample_keys)
            images = images[copy_to(images.device, kept)]
            kept = copy_to(labels.device, kept)
            sample_keys, labels = sample_keys[kept], labels[kept]
        if labels.device != images.device:
            labels, sample_keys = copy_together(self.device, labels, sample_keys)
        return MicroBatch(images, labels, sample_keys, request.chunk, weight)


class TrainLoader:
    """Iterates over the steps of an epoch. Its state can be saved between any two steps, and continues there.
    last_epoch: no batch of a later epoch is begun ahead of time."""

    def __init__(self, stream: Stream, order: EpochOrder, split: BatchSplit, rank: int, last_epoch: int) -> None:
        self.stream, self.order, self.split, self.rank, self.last_epoch = stream, order, split, rank, last_epoch
        self.epoch = self.next_step = 0

    def __len__(self) -> int:
        return self.order.steps_per_epoch

    @property
    def sampler(self) -> TrainLoader:
        return self  # Lightning calls set_epoch on samplers only

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Step]:
        first, accumulation = self.next_step % len(self), self.split.accumulation  # 0 after a whole epoch
        requests = chain(self.requests(self.epoch, first), self.requests(self.epoch + 1, 0))
        batches = self.stream(requests, (len(self) - first) * accumulation)
        for step in range(first, len(self)):
            self.next_step, micro_batches = step + 1, Step(batches, accumulation)
            yield micro_batches
            deque(micro_batches, maxlen=0)  # those that the step did not ask for

    def requests(self, epoch: int, first: int) -> Iterator[Request]:
        """This rank's micro-batches in an epoch, from step `first` on."""
        if epoch > max(self.epoch, self.last_epoch):
            return
        sample_keys, size = self.order.epoch(epoch).to(self.stream.source.images.labels.device), self.order.batch_size
        for step in range(first, len(self)):
            batch = sample_keys[step * size : (step + 1) * size]
            for chunk in self.split.chunks_of(self.rank):
                share = batch[chunk :: self.split.chunks]
                key = (epoch, step * self.split.chunks + chunk)
                yield Request(key, share, chunk, len(share) * self.split.devices / len(batch))

    def state_dict(self) -> dict[str, int]:
        return {"next": self.next_step % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next_step = state["next"]


class EvaluationLoader:
    """Every image once over all ranks. All ranks have the same number of batches, so the last may be empty."""

    def __init__(self, stream: Stream, batch_size: int, ranks: int, rank: int) -> None:
        images = stream.source.images
        largest_share = -(-len(images) // ranks)  # of a rank
        sample_keys = first_repetitions(torch.arange(len(images), device=images.labels.device)[rank::ranks])
        self.requests = batch_requests(sample_keys, -(-largest_share // batch_size), chunk=rank)
        self.stream = stream

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[MicroBatch]:
        return self.stream(iter(self.requests), len(self))
