"""The base class of data sets that fit in memory, as one uint8 tensor of images of one size."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import torch

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import TensorImages, resize_or_pad


class MemoryDataModule(ImageDataModule):
    """A data set as two arrays, training and test.

    Args:
        resolution: image side in pixels.
        show: how images of another native size get `resolution`: "resize" or "pad" (with zeros, centred).
    """

    def __init__(
        self, *, resolution: Annotated[int, "1 <= x <= 1024"], show: Literal["resize", "pad"], **options: Any
    ) -> None:
        super().__init__(resolution=resolution, **options)
        self.show = show

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that hold the data, downloaded if they are missing. Raises DataError."""

    @abstractmethod
    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        """Images (N, C, H, W) uint8 and labels (N,) of the training, then of the test set. Raises DataError."""

    def read(self) -> tuple[TensorImages, TensorImages]:
        assert self.resolution is not None
        self.files()  # downloads them
        splits = []
        for images, labels in self.arrays():
            if images.ndim != 4 or labels.ndim != 1 or len(labels) != len(images) or (len(labels) and labels.min() < 0):
                raise DataError(f"{self.root}: labels and images do not match; the files are damaged.")
            if len(labels) and labels.max() >= self.num_classes:
                raise DataError(f"datamodule.num_classes={self.num_classes}: the data has {labels.max() + 1} classes.")
            if images.shape[1] != self.channels:
                raise DataError(f"datamodule.channels={self.channels}: the images have {images.shape[1]}.")
            resized = resize_or_pad(torch.from_numpy(images), self.resolution, self.show)
            splits.append(TensorImages(resized, torch.from_numpy(labels.astype(numpy.int64))))
        train, test = splits
        return train, test
