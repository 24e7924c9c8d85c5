"""What every data set has in common: facts, a validation split of its own seed, and loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy
import pytorch_lightning as pl
import torch

from datamodules.images import FileImages, TensorImages
from datamodules.loader import EvaluationLoader, Fetch, MicroBatch, TrainLoader, Transform, fetch_all
from datamodules.order import DataError, Order, Split

Images = TensorImages | FileImages


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
    """

    names: Sequence[str] = ()

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
        self.train_transform: Transform | None = None

    def class_names(self) -> list[str]:
        """A name for each class in the order of the labels; numbers where the data set has no names, or others."""
        return list(self.names) if len(self.names) == self.num_classes else list(map(str, range(self.num_classes)))

    @abstractmethod
    def read(self, share: bool) -> tuple[Images, Images]:
        """Training and test images; with `share`, processes of this machine hold one copy. Raises DataError."""

    def load(self, *, share: bool = False) -> None:
        """Read the files and set `train`, `val` and `test`.

        Raises:
            DataError: files are missing, damaged, or fewer than val_size asks for.
        """
        whole, self.test = self.read(share)
        if not 0 <= self.val_size < len(whole):
            raise DataError(f"datamodule.val_size={self.val_size}: there are {len(whole):,} training images.")
        order = torch.from_numpy(numpy.random.default_rng(self.split_seed).permutation(len(whole)))
        self.train = whole.subset(order[self.val_size :].sort().values) if self.val_size else whole
        self.val = whole.subset(order[: self.val_size].sort().values) if self.val_size else self.test

    # ---- what the loaders shall do; transforms run in the workers

    def connect_training(self, order: Order, split: Split, transform: Transform | None) -> None:
        self.order, self.split, self.train_transform = order, split, transform

    def connect_evaluation(self, batch_size: int, transform: Transform | None) -> None:
        self.evaluation_batch, self.test_transform = batch_size, transform

    def train_dataloader(self) -> TrainLoader:
        assert self.trainer is not None
        images, workers, pin = self._place(self.train, self.train_transform)
        rank = self.trainer.global_rank
        return TrainLoader(images, self.order, self.split, rank, self.train_transform, workers, pin)

    def training_images(self, count: int, epoch: int | None) -> Iterator[MicroBatch]:
        """This rank's share of the first `count` images of an epoch, 0: of all, without taking a step.

        Args:
            epoch: whose order and augmentation; None: the first ones of the files, as in a test.
        """
        assert self.trainer is not None
        transform = self.test_transform if epoch is None else self.train_transform
        images, workers, pin = self._place(self.train, transform)
        if epoch is None:
            samples = torch.arange(min(count, len(images)) or len(images))
            origin = torch.stack((torch.zeros_like(samples), samples, torch.zeros_like(samples)), dim=1)
        else:
            order = self.order.epoch(epoch)
            origin = order[: count or len(order)][self.trainer.global_rank :: self.trainer.world_size]
        size = -(-self.order.batch_size // self.split.chunks)
        parts = origin.to(images.labels.device).tensor_split(max(1, -(-len(origin) // size)))
        return fetch_all(Fetch(images, transform), [(part, 0, 1.0) for part in parts], workers, pin)

    def val_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader(self.val)

    def test_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader(self.test)

    def _evaluation_loader(self, images: Images) -> EvaluationLoader:
        trainer, transform = self.trainer, self.test_transform
        assert trainer is not None
        images, workers, pin = self._place(images, transform)
        return EvaluationLoader(
            images, self.evaluation_batch, trainer.world_size, trainer.global_rank, transform, workers, pin
        )

    def _place(self, images: Images, transform: Transform | None) -> tuple[Images, int, bool]:
        """Where images lie, how many workers make batches of them, and whether in pinned memory.

        What is in memory and not transformed on the host lies on the device and needs no workers.
        """
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        needs_workers = transform is not None or not images.in_memory
        if not needs_workers:
            return images.to(device), 0, False
        return images, self._worker_count(), device.type == "cuda"

    def _worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        assert self.trainer is not None
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // max(1, self.trainer.num_devices))

    # ---- the order of training is a function of the number of images, so a run goes on with as many

    def state_dict(self) -> dict[str, Any]:
        return {"training_images": len(self.train)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before = state_dict["training_images"]
        if before != len(self.train):
            raise DataError(
                f"The run was started with {before:,} training images, and there are {len(self.train):,} now: "
                "bring them back, or choose another name, run=NAME."
            )
