"""Data sets that fit in memory: read whole, shown at one size, one uint8 tensor."""

from __future__ import annotations

import hashlib
import os
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from filelock import FileLock
from torch import Tensor
from torch.nn import functional as F

from datamodules.base import ImageDataModule
from datamodules.images import TensorImages
from datamodules.order import DataError


class MemoryDataModule(ImageDataModule):
    """A data set as two arrays, training and test.

    Args:
        show: how images of another native size come to `resolution`: "resize" or "pad" (with zeros, centred).
    """

    def __init__(self, *, show: str, **facts: Any) -> None:
        super().__init__(**facts)
        if show not in ("resize", "pad"):
            raise DataError(f"datamodule.show={show}: it is one of resize, pad.")
        self.show = show

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that hold the data, after a download if need be. Raises DataError."""

    @abstractmethod
    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        """Images (N, C, H, W) uint8 and labels (N,) of the training, then of the test set. Raises DataError."""

    def read(self, share: bool) -> tuple[TensorImages, TensorImages]:
        with FileLock(_scratch() / f"{type(self).__name__}.lock"):  # processes of one machine download once
            files = self.files()
        train, test = self._shared(files) if share else self._arrays()
        return TensorImages(*train), TensorImages(*test)

    def _arrays(self) -> list[tuple[Tensor, Tensor]]:
        assert self.resolution is not None
        pairs = []
        for images, labels in self.arrays():
            if labels.min() < 0 or labels.max() >= self.num_classes or len(labels) != len(images):
                raise DataError(f"{self.root}: labels and images do not match; the files are damaged.")
            shown = show_at(torch.from_numpy(images), self.resolution, self.show)
            pairs.append((shown, torch.from_numpy(labels.astype(numpy.int64))))
        return pairs

    def _shared(self, files: list[Path]) -> list[tuple[Tensor, Tensor]]:
        """The same from files that the ranks of a machine map, so that its memory holds them once."""
        stamps = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        key = hashlib.blake2b(repr((stamps, self.resolution, self.show, type(self).__name__)).encode(), digest_size=8)
        names = [_scratch() / f"{key.hexdigest()}-{part}.npy" for part in ("x0", "y0", "x1", "y1")]
        with FileLock(_scratch() / f"{key.hexdigest()}.lock"):
            if not all(name.exists() for name in names):
                for name, tensor in zip(names, sum(self._arrays(), ()), strict=True):
                    _write_whole(name, tensor.numpy())
        # "c": writable in the eyes of torch, yet never written back
        tensors = [torch.from_numpy(numpy.load(name, mmap_mode="c")) for name in names]
        return [(tensors[0], tensors[1]), (tensors[2], tensors[3])]


def show_at(images: Tensor, resolution: int, show: str) -> Tensor:
    """(N, C, H, W) uint8 to (N, C, resolution, resolution) uint8."""
    native = images.shape[2]
    if native == resolution:
        return images
    if show == "pad" and resolution > native:
        before = (resolution - native) // 2
        after = resolution - native - before
        return F.pad(images, (before, after, before, after))
    resized = [
        F.interpolate(part.float(), (resolution, resolution), mode="bilinear", antialias=True).round().to(torch.uint8)
        for part in images.split(4096)
    ]
    return torch.cat(resized)


def _scratch() -> Path:
    folder = Path(tempfile.gettempdir()) / f"lineage-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _write_whole(path: Path, array: numpy.ndarray) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        numpy.save(file, array)
    os.replace(file.name, path)
