"""What every data set has in common: facts, a validation split of its own seed, and loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import pytorch_lightning as pl
import torch

from datamodules.images import FileImages, TensorImages
from datamodules.loader import EvaluationLoader, TrainLoader, Transform
from datamodules.order import DataError, Order, Split


class ImageDataModule(pl.LightningDataModule, ABC):
    """A data set with the facts that a run needs.

    Args:
        root: folder of the files.
        num_classes, channels, mean, std: std and mean of pixels in [0, 1], per channel.
        mirror: whether a mirrored image is still of its class.
        stem: "cifar" for small images, "imagenet" for large: the stem that suits them.
        resolution: image side in pixels; None: the recipe's train_res and test_res.
        val_size: training images held out for validation; 0: validate on the test set, as the CIFAR papers do.
        split_seed: decides which; independent of the run's seed.
        workers: processes that load or transform image by image; None: one a core that the process may use.
    """

    def __init__(
        self, *, root: str, num_classes: int, channels: int, mean: Sequence[float], std: Sequence[float], mirror: bool,
        stem: str, resolution: int | None, val_size: int, split_seed: int, workers: int | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.root, self.num_classes, self.channels = Path(root), num_classes, channels
        self.mean, self.std, self.mirror, self.stem = list(mean), list(std), mirror, stem
        self.resolution, self.val_size, self.split_seed = resolution, val_size, split_seed
        self.workers = workers
        self.facts: list[str] = []  # what the user should know about these files

    @abstractmethod
    def read(self, share: bool) -> tuple[TensorImages | FileImages, TensorImages | FileImages]:
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

    def connect(
        self, order: Order, split: Split, train_transform: Transform | None, test_transform: Transform | None,
        evaluation_batch: int,
    ) -> None:  # fmt: skip
        """Say what the loaders shall do; the transforms, if there are any, run in the workers."""
        self.order, self.split, self.evaluation_batch = order, split, evaluation_batch
        self.train_transform, self.test_transform = train_transform, test_transform

    def train_dataloader(self) -> TrainLoader:
        images, transform = self.train, self.train_transform
        assert self.trainer is not None
        images, workers, pin = self._place(images, transform)
        return TrainLoader(images, self.order, self.split, self.trainer.global_rank, transform, workers, pin)

    def val_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader(self.val)

    def test_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader(self.test)

    def _evaluation_loader(self, images: TensorImages | FileImages) -> EvaluationLoader:
        trainer, transform = self.trainer, self.test_transform
        assert trainer is not None
        images, workers, pin = self._place(images, transform)
        return EvaluationLoader(
            images, self.evaluation_batch, trainer.world_size, trainer.global_rank, transform, workers, pin
        )

    def _place(self, images, transform: Callable | None) -> tuple:
        """Images on the device need no workers; what is transformed image by image stays on the host and has them."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        if images.in_memory and transform is None:
            return images.to(device), 0, False
        return images, self._worker_count(), device.type == "cuda"

    def _worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        assert self.trainer is not None
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // max(1, self.trainer.num_devices))
