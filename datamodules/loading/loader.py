"""Loaders. An item of the training loader is one optimiser step: the list of this device's micro-batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple, cast

import torch
from torch import Tensor

from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, Images, InMemoryImages
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import Job, PendingBatch, Pool


class MicroBatch(NamedTuple):
    """What one forward and backward pass sees: the share of a step for one device.

    images: (n, C, H, W) uint8; labels: (n,) int64; sample_keys: (n, 3) int64, the epoch, sample and repetition of each
    image; chunk: the number of this micro-batch among those of the step, over all devices; weight: its share of the
    step's mean loss, times the number of devices, so that the mean over devices is the mean over images.
    """

    images: Tensor
    labels: Tensor
    sample_keys: Tensor
    chunk: int
    weight: float


class Request(NamedTuple):
    """A micro-batch to be made. key: its place in the run, unlike that of any other of the same stream."""

    key: tuple[int, int]
    sample_keys: Tensor
    chunk: int
    weight: float


class Stream:
    """Makes micro-batches of requests, in their order: in this process, or ahead of time in those of a pool.

    Args:
        job: the pool's name for it.
        made: what the batches are of.
        device: where they go.
        pool: makes the pool at first use; None: this process makes them.
        report: is told what cannot be read; raises DataError if that is too much.
        source: the images that those of `made` are a copy of, on the device; None: they are no copy.
    """

    def __init__(
        self,
        job: str,
        made: Job,
        device: torch.device,
        pool: Callable[[], Pool] | None,
        report: Callable[[Iterable[Fault]], None],
        source: Images | None = None,
    ) -> None:
        self.source = source or made.images
        self.job, self.made, self.device, self.pool, self.report = job, made, device, pool, report
        self.begun: deque[tuple[Request, PendingBatch]] = deque()

    def __call__(self, requests: Iterator[Request], count: int) -> Iterator[MicroBatch]:
        """The first `count` of the requests. Some after them are begun, for the next call that asks for them."""
        if self.pool is None:
            yield from map(self._here, islice(requests, count))
            return
        pool = self.pool()
        requests = self._not_begun(pool, requests)
        for _ in range(count):
            for request in islice(requests, pool.ahead - len(self.begun)):
                self.begun.append((request, pool.submit(self.job, request.sample_keys)))
            request, asked = self.begun.popleft()
            yield self._taken(request, *pool.result(asked))

    def _not_begun(self, pool: Pool, requests: Iterator[Request]) -> Iterator[Request]:
        """Those of the requests that are not begun; if others are than the first ones, forget those."""
        first = list(islice(requests, len(self.begun)))
        if [request.key for request in first] == [request.key for request, _ in self.begun]:
            return requests
        while self.begun:
            pool.drop(self.begun.popleft()[1])
        return chain(first, requests)

    def _here(self, request: Request) -> MicroBatch:
        images, view = self.made
        if images.in_memory and view is None:
            source, samples = cast(InMemoryImages, images), request.sample_keys[:, 1]
            return self._taken(request, source[samples], source.faults_at(samples))
        epoch = int(request.sample_keys[0, 0]) if len(request.sample_keys) else 0
        shape = self.made.shape(len(request.sample_keys), epoch)
        out = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        faults = images.fill(out, request.sample_keys, view) if len(out) else []
        return self._taken(request, out.to(self.device), faults)

    def _taken(self, request: Request, images: Tensor, faults: list[Fault]) -> MicroBatch:
        """Without the images that could not be read. They move nothing, as if their loss were 0: the others keep their
        share of the step, whatever the micro-batches and devices."""
        sample_keys, weight = request.sample_keys, request.weight
        labels = self.made.images.labels[sample_keys[:, 1]].to(self.device)
        if faults:
            self.report(faults)
            bad = {fault.row for fault in faults}
            kept = torch.tensor([row for row in range(len(sample_keys)) if row not in bad], dtype=torch.int64)
            if self.job == "train" and not len(kept):
                raise DataError(
                    f"None of a micro-batch of {len(sample_keys)} can be read, {faults[-1].name} the last, and a step "
                    "needs an image: see lineage prepare check=true, or set trainer.max_per_device higher."
                )
            weight *= len(kept) / len(sample_keys)
            sample_keys, labels = sample_keys[kept], labels[kept.to(labels.device)]
            images = images[kept.to(images.device)]
        return MicroBatch(images, labels, sample_keys.to(self.device), request.chunk, weight)


class TrainLoader:
    """Iterates over the steps of an epoch; can be saved between any two and goes on from there.

    Args:
        last_epoch: after which nothing more is made ahead.
    """

    def __init__(self, stream: Stream, order: EpochOrder, split: BatchSplit, rank: int, last_epoch: int) -> None:
        self.stream, self.order, self.split, self.rank, self.last_epoch = stream, order, split, rank, last_epoch
        self.epoch = self.next_step = 0

    def __len__(self) -> int:
        return self.order.steps_per_epoch

    @property
    def sampler(self) -> TrainLoader:
        return self  # Lightning tells the epoch to samplers only

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        first, each = self.next_step % len(self), self.split.accumulation  # 0 after a whole epoch
        requests = chain(self.requests(self.epoch, first), self.requests(self.epoch + 1, 0))
        batches = self.stream(requests, (len(self) - first) * each)
        for step in range(first, len(self)):
            self.next_step = step + 1
            yield [next(batches) for _ in range(each)]

    def requests(self, epoch: int, first: int) -> Iterator[Request]:
        """What this rank computes in an epoch from step `first` on."""
        if epoch > max(self.epoch, self.last_epoch):
            return
        sample_keys, size = self.order.epoch(epoch).to(self.stream.made.images.labels.device), self.order.batch_size
        for step in range(first, len(self)):
            images = sample_keys[step * size : (step + 1) * size]
            for chunk in self.split.of(self.rank):
                share = images[chunk :: self.split.chunks]
                key = (epoch, step * self.split.chunks + chunk)
                yield Request(key, share, chunk, len(share) * self.split.devices / len(images))

    def state_dict(self) -> dict[str, int]:
        return {"next": self.next_step % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next_step = state["next"]


class EvaluationLoader:
    """Every image once over all ranks, in batches; every rank makes as many batches, if need be an empty one."""

    def __init__(self, stream: Stream, batch_size: int, ranks: int, rank: int) -> None:
        images = stream.made.images
        most = -(-len(images) // ranks)  # images of the rank that has most
        mine = torch.arange(len(images), device=images.labels.device)[rank::ranks]
        sample_keys = torch.stack((torch.zeros_like(mine), mine, torch.zeros_like(mine)), dim=1)
        parts = sample_keys.tensor_split(max(1, -(-most // batch_size)))
        self.requests = [Request((0, i), part, rank, 1.0) for i, part in enumerate(parts)]
        self.stream = stream

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[MicroBatch]:
        return self.stream(iter(self.requests), len(self))
