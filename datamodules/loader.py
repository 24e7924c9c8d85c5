"""Loaders. An item of the training loader is one optimiser step: the list of this device's micro-batches."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.order import DataError, Order, Split

Transform = Callable[[Any, Tensor], Tensor]  # (images, origin) -> (n, C, H, W) uint8


class MicroBatch(NamedTuple):
    """What one forward and backward pass sees: the share of a step for one device.

    images: (n, C, H, W) uint8; labels: (n,) int64; origin: (n, 3) int64, the epoch, sample and repetition of each
    image; chunk: the number of this micro-batch among those of the step, over all devices; weight: its share of the
    step's mean loss, times the number of devices, so that the mean over devices is the mean over images.
    """

    images: Tensor
    labels: Tensor
    origin: Tensor
    chunk: int
    weight: float


class Images(Protocol):
    """A source of images: `images[samples]` is a uint8 tensor (n, C, H, W), or a list of PIL images."""

    labels: Tensor  # (N,) int64
    in_memory: bool
    one_size: bool

    def __len__(self) -> int: ...
    def __getitem__(self, samples: Tensor) -> Any: ...
    def to(self, device: torch.device) -> Images: ...


class Fetch:
    """Makes a micro-batch of a request (origin, chunk, weight), here or in a worker process."""

    def __init__(self, images: Images, transform: Transform | None) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, request: tuple[Tensor, int, float]) -> MicroBatch | DataError:
        """The error as a value: torch would wrap one that is raised in a worker into a traceback as text."""
        origin, chunk, weight = request
        samples = origin[:, 1]
        try:
            images = self.images[samples]
            if self.transform is not None and len(samples):
                images = self.transform(images, origin)
        except DataError as error:
            return error
        if isinstance(images, list):  # a rank without images
            images = torch.zeros(0, 0, 0, 0, dtype=torch.uint8)
        return MicroBatch(images, self.images.labels[samples], origin, chunk, weight)


def leave_signals_to_the_run(worker: int) -> None:
    """A scheduler tells all processes of a run to stop; the run still needs its workers for the step that it saves."""
    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def fetch_all(fetch: Fetch, requests: Sequence[Any], workers: int, pin: bool) -> Iterator[MicroBatch]:
    """The micro-batches of the requests in order; each is made by one of the workers, or here if there are none.

    Raises:
        DataError: an image cannot be read.
    """
    made: Any = map(fetch.__getitem__, requests)
    if workers and requests:
        made = DataLoader(
            fetch,  # type: ignore[arg-type]  # a map from requests; it has no length and needs none
            sampler=requests,
            batch_size=None,
            num_workers=min(workers, len(requests)),
            pin_memory=pin,
            worker_init_fn=leave_signals_to_the_run,
        )
    for item in made:
        if isinstance(item, DataError):
            raise item
        yield item


class TrainLoader:
    """Iterates over the steps of an epoch; can be saved between any two and goes on from there.

    Args:
        workers: processes that make micro-batches; 0 where nothing is done image by image.
    """

    def __init__(
        self,
        images: Images,
        order: Order,
        split: Split,
        rank: int,
        transform: Transform | None,
        workers: int,
        pin: bool,
    ) -> None:
        self.images, self.order, self.split, self.rank = images, order, split, rank
        self.fetch, self.workers, self.pin = Fetch(images, transform), workers, pin
        self.epoch = self.next_step = 0

    def __len__(self) -> int:
        return self.order.steps_per_epoch

    @property
    def sampler(self) -> TrainLoader:
        return self  # Lightning tells the epoch to samplers only

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        first = self.next_step % len(self)  # 0 after a whole epoch
        batches = fetch_all(self.fetch, self.requests(first), self.workers, self.pin)
        for step in range(first, len(self)):
            self.next_step = step + 1
            yield [next(batches) for _ in range(self.split.accumulation)]

    def requests(self, first: int) -> list[tuple[Tensor, int, float]]:
        """What this rank computes in this epoch from step `first` on, a micro-batch an entry."""
        origin = self.order.epoch(self.epoch).to(self.images.labels.device)
        size, requests = self.order.batch_size, []
        for step in range(first, len(self)):
            images = origin[step * size : (step + 1) * size]
            for chunk in self.split.of(self.rank):
                share = images[chunk :: self.split.chunks]
                requests.append((share, chunk, len(share) * self.split.devices / len(images)))
        return requests

    def state_dict(self) -> dict[str, int]:
        return {"next": self.next_step % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next_step = state["next"]


class EvaluationLoader:
    """Every image once over all ranks, in batches; every rank makes as many batches, if need be an empty one."""

    def __init__(
        self,
        images: Images,
        batch_size: int,
        ranks: int,
        rank: int,
        transform: Transform | None,
        workers: int,
        pin: bool,
    ) -> None:
        self.fetch, self.workers, self.pin = Fetch(images, transform), workers, pin
        most = -(-len(images) // ranks)  # images of the rank that has most
        mine = torch.arange(len(images), device=images.labels.device)[rank::ranks]
        origin = torch.stack((torch.zeros_like(mine), mine, torch.zeros_like(mine)), dim=1)
        self.requests = [(part, rank, 1.0) for part in origin.tensor_split(max(1, -(-most // batch_size)))]

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[MicroBatch]:
        return fetch_all(self.fetch, self.requests, self.workers, self.pin)
