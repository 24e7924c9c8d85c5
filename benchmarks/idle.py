"""How long a GPU waits for images from files, simulated on any machine: the pool, the stream and the loader of a run,
worker processes that sleep instead of decoding, and a clock instead of a GPU.

python benchmarks/idle.py    [--rounds 3]

The workers together make 1.2 times as many images a second as the GPU trains.
"""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

import torch
from harness import command
from torch import Tensor

from lineage.datamodules.loading.loader import Stream, TrainLoader
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import Job, Pool, batches_ahead

GPU_RATE = 3_000  # images a second, as ResNet-50 at 224 px
WORKERS, WORKER_RATE = 16, 1.2 * GPU_RATE / 16
IMAGE_BYTES = 3 * 224 * 224  # by which the loader bounds its memory; images here are a byte
LAUNCH_S = 0.02  # the host's own time for a micro-batch, 1,000 launches of Lightning, PyTorch and the optimiser
QUEUED_S = 0.2  # of work that the host may queue before a launch waits: CUDA takes some 1,024 launches
IMAGES = 10 * 1024  # that are counted, after those of one step


@dataclass(eq=False)
class SleepingImages:
    """A source of images of one byte, each of which takes a worker's time."""

    labels: Tensor
    channels: ClassVar = 1
    native: ClassVar = (1, 1)
    one_size: ClassVar = False

    def __len__(self) -> int:
        return len(self.labels)

    def fill(self, out: Tensor, sample_keys: Tensor, view: Any) -> list[Any]:
        time.sleep(len(out) / WORKER_RATE)
        return []


class Clock:
    """An asynchronous device: work is queued and done in its order, while the host goes on."""

    def __init__(self) -> None:
        self.begun = self.done = time.perf_counter()  # `done`: when all queued work will be
        self.idle = 0.0

    def queue(self, seconds: float) -> None:
        now = time.perf_counter()
        self.idle += max(0.0, now - self.done)
        self.done = max(now, self.done) + seconds
        time.sleep(max(0.0, self.done - now - QUEUED_S))

    def restart(self) -> None:
        """Count from the end of the work that is queued."""
        self.begun, self.idle = self.done, 0.0

    def idle_share(self) -> float:
        return self.idle / (self.done - self.begun)


def idle_share(accumulation: int, micro_batch: int) -> float:
    """The share of the time in which the device has nothing to do."""
    size = accumulation * micro_batch
    images = SleepingImages(torch.zeros(IMAGES + 2 * size, dtype=torch.int64))
    ahead = batches_ahead(WORKERS, micro_batch, accumulation, micro_batch * IMAGE_BYTES)
    pool = Pool({"train": Job(images, None)}, WORKERS, micro_batch, ahead, torch.device("cpu"))  # type: ignore[arg-type]
    stream = Stream("train", pool.jobs["train"], pool.device, lambda: pool, report=lambda faults: None)
    order = EpochOrder(len(images), size, 0, drop_last=True, seed=0)
    loader, clock = TrainLoader(stream, order, BatchSplit(1, accumulation), 0, last_epoch=0), Clock()
    for number, step in enumerate(loader):
        for batch in step:
            time.sleep(LAUNCH_S)
            clock.queue(len(batch.labels) / GPU_RATE)
        if number == 0:  # it waits for the first images of all
            clock.restart()
    pool.close()
    return clock.idle_share()


def idle(rounds: int) -> None:
    """The share of a GPU's time without work."""
    for accumulation, micro_batch in ((8, 256), (4, 512), (4, 256), (1, 256)):
        share = median(idle_share(accumulation, micro_batch) for _ in range(rounds))
        print(f"  {accumulation} x {micro_batch}: {share:.1%}")


if __name__ == "__main__":
    command(__doc__, idle, rounds=1)
