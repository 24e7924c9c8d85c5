"""What every data set has in common: facts, a validation split of its own seed, and loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy
import pytorch_lightning as pl
import torch
import torch.distributed as dist

from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, Images, View
from lineage.datamodules.loading.loader import EvaluationLoader, MicroBatch, Request, Stream, TrainLoader
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import PART, Job, Pool


class ImageDataModule(pl.LightningDataModule, ABC):
    """A data set with the facts that a run needs.

    Args:
        root: folder of the files.
        num_classes, channels, mean, std: std and mean of pixels in [0, 1], per channel.
        mirror: whether a mirrored image is still of its class.
        resolution: image side in pixels; None: the recipe's train_res and test_res.
        val_size: training images held out for validation; 0: validate on the test set, as the CIFAR papers do.
        split_seed: decides which; independent of the run's seed.
        workers: processes that load or transform image by image; None: one a core that the process may use.

    Attributes:
        names: of the classes, where they have any.
        notes: what the user should know about these files, in sentences.
        largest: pixels of the longest of the images' shorter sides, where that is known; None: not.
        window: images among which an epoch's order is random before it moves on; 0: all of them.
        skipped: images that could not be read, and were left out, with the reason.
    """

    names: Sequence[str] = ()
    largest: int | None = None
    window = 0

    def __init__(
        self,
        *,
        root: str,
        num_classes: Annotated[int, "1 <= x <= 1000000"],
        channels: Annotated[int, "1 <= x <= 64"],
        mean: Sequence[Annotated[float, "0 <= x <= 1"]],
        std: Sequence[Annotated[float, "0 < x <= 1"]],
        mirror: bool,
        resolution: Annotated[int, "1 <= x <= 8192"] | None,
        val_size: Annotated[int, "x >= 0"],
        split_seed: Annotated[int, "x >= 0"],
        workers: Annotated[int, "0 <= x <= 1024"] | None,
    ) -> None:
        super().__init__()
        self.root, self.num_classes, self.channels = Path(root), num_classes, channels
        self.mean, self.std, self.mirror = list(mean), list(std), mirror
        self.resolution, self.val_size, self.split_seed = resolution, val_size, split_seed
        self.workers = workers
        self.notes: list[str] = []
        self.skipped: dict[str, str] = {}
        self.training_view: View | None = None
        self.test_view: View | None = None
        self._made: tuple[dict[str, Job], Pool] | None = None
        self._streams: dict[str, Stream] = {}

    def class_names(self) -> list[str]:
        """A name for each class in the order of the labels; numbers where the data set has no names, or others."""
        return list(self.names) if len(self.names) == self.num_classes else list(map(str, range(self.num_classes)))

    @abstractmethod
    def read(self, share: bool) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        """Training and test images, or training, validation and test images.

        Args:
            share: whether processes of this machine hold one copy.

        Raises:
            DataError: files are missing or damaged.
        """

    def load(self, *, share: bool = False) -> None:
        """Read the files and set `train`, `val` and `test`.

        Raises:
            DataError: files are missing, damaged, or fewer than val_size asks for.
        """
        whole, *own, self.test = self.read(share)
        if own:
            self.train, self.val = whole, own[0]
            return
        if not 0 <= self.val_size < len(whole):
            raise DataError(f"datamodule.val_size={self.val_size}: there are {len(whole):,} training images.")
        order = torch.from_numpy(numpy.random.default_rng(self.split_seed).permutation(len(whole)))
        self.train = whole.subset(order[self.val_size :].sort().values) if self.val_size else whole
        self.val = whole.subset(order[: self.val_size].sort().values) if self.val_size else self.test

    # ---- what the loaders shall do

    def connect_training(self, order: EpochOrder, split: BatchSplit, view: View | None, epochs: int) -> None:
        self.order, self.split, self.training_view, self.epochs = order, split, view, epochs

    def connect_evaluation(self, batch_size: int, view: View | None) -> None:
        self.evaluation_batch, self.test_view = batch_size, view

    def train_dataloader(self) -> TrainLoader:
        assert self.trainer is not None
        last = min(self.epochs, self.trainer.max_epochs or self.epochs) - 1
        return TrainLoader(self._stream("train"), self.order, self.split, self.trainer.global_rank, last)

    def val_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, job: str) -> EvaluationLoader:
        assert self.trainer is not None
        return EvaluationLoader(
            self._stream(job), self.evaluation_batch, self.trainer.world_size, self.trainer.global_rank
        )

    def training_images(self, count: int, epoch: int | None) -> Iterator[MicroBatch]:
        """This rank's share of the first `count` images of an epoch, 0: of all, without taking a step.

        Args:
            epoch: whose order and augmentation; None: the first ones of the files, as in a test.
        """
        assert self.trainer is not None
        stream = self._new_stream("start" if epoch is None else "train")
        if epoch is None:
            samples = torch.arange(min(count, len(self.train)) or len(self.train))
            sample_keys = torch.stack((torch.zeros_like(samples), samples, torch.zeros_like(samples)), dim=1)
        else:
            order = self.order.epoch(epoch)
            sample_keys = order[: count or len(order)][self.trainer.global_rank :: self.trainer.world_size]
        sample_keys = sample_keys.to(stream.made.images.labels.device)
        parts = sample_keys.tensor_split(max(1, -(-len(sample_keys) // self._micro_batch())))
        return stream((Request((0, i), part, 0, 1.0) for i, part in enumerate(parts)), len(parts))

    # ---- who makes the batches

    def report(self, faults: Iterable[Fault]) -> None:
        """Images that cannot be read. Raises DataError, naming the first."""
        first = next(iter(faults))
        raise DataError(
            f"{first.name} cannot be read as an image ({first.reason}).\nFetch it again, or leave out what cannot be "
            "read: datamodule.on_error=skip datamodule.max_errors=N."
        )

    def _stream(self, job: str) -> Stream:
        """The stream of a job, with what it has begun."""
        images, view = self._jobs()[job]
        known = self._streams.get(job)
        if known is None or known.source is not images or known.made.view is not view:
            self._streams[job] = self._new_stream(job)
        return self._streams[job]

    def _new_stream(self, job: str) -> Stream:
        """What is in memory and not transformed on the host lies on the device; others need worker processes."""
        assert self.trainer is not None
        device, made = self.trainer.strategy.root_device, self._jobs()[job]
        if made.needs_host:
            return Stream(job, made, device, self._pool if self._worker_count() else None, self.report)
        return Stream(job, Job(made.images.to(device), None), device, None, self.report, source=made.images)

    def _jobs(self) -> dict[str, Job]:
        jobs = {"val": Job(self.val, self.test_view), "test": Job(self.test, self.test_view)}
        if hasattr(self, "order"):
            jobs["train"] = Job(self.train, self.training_view)
            jobs["start"] = Job(self.train, self.test_view)
        return jobs

    def _pool(self) -> Pool:
        """The worker processes; they live as long as what they make is the same."""
        jobs = {name: job for name, job in self._jobs().items() if job.needs_host}
        if self._made is not None and self._made[0] == jobs:
            return self._made[1]
        if self._made is not None:
            self._made[1].close()
        assert self.trainer is not None
        workers, micro_batch = self._worker_count(), self._micro_batch()
        counts = {"train": micro_batch, "start": micro_batch}
        epochs = getattr(self, "epochs", 1)
        most = max(job.most_bytes(counts.get(name, self.evaluation_batch), epochs) for name, job in jobs.items())
        ahead = 2 + -(-workers * PART // micro_batch)  # each process has a part, and the next is begun
        self._made = jobs, Pool(jobs, workers, most, ahead, self.trainer.strategy.root_device)
        return self._made[1]

    def _micro_batch(self) -> int:
        return -(-self.order.batch_size // self.split.chunks) if hasattr(self, "order") else self.evaluation_batch

    def _worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        assert self.trainer is not None
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // max(1, self.trainer.num_devices))

    def left_out(self) -> dict[str, str]:
        """Images that could not be read, with reasons, of all processes of the run, which call this together."""
        if not dist.is_initialized():
            return dict(self.skipped)
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, self.skipped)
        return {name: reason for those in gathered for name, reason in those.items()}

    # ---- the order of training is a function of the number of images and steps, so a run goes on with as many

    def state_dict(self) -> dict[str, Any]:
        steps = {"steps_per_epoch": self.order.steps_per_epoch} if hasattr(self, "order") else {}
        return {"training_images": len(self.train), "validation_images": len(self.val), **steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before = state_dict["training_images"]
        if before != len(self.train):
            raise DataError(
                f"The run was started with {before:,} training images, and there are {len(self.train):,} now: "
                "bring them back, or choose another name, run=NAME."
            )
        validated = state_dict.get("validation_images", len(self.val))
        if validated != len(self.val):
            raise DataError(
                f"The run was started with {validated:,} validation images, and there are {len(self.val):,} now: "
                "bring them back, or choose another name, run=NAME."
            )
        steps = state_dict.get("steps_per_epoch")
        if hasattr(self, "order") and steps not in (None, self.order.steps_per_epoch):
            raise DataError(
                f"The run was started with epochs of {steps:,} steps, not {self.order.steps_per_epoch:,}: bring "
                "trainer.limit_train_batches back, or choose another name, run=NAME."
            )
