"""Sources of images: a tensor that fits in memory, or files.

Two facts of a source: whether it is `in_memory`, so that it can lie on the training device, and whether its images have
`one_size`, so that a batch is one tensor. (Whether workers are needed follows from what is done with it: base.py.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datamodules.order import DataError


class TensorImages:
    """Images as one uint8 tensor (N, C, H, W): a batch is a gather. With `samples`, only those of them."""

    in_memory = one_size = True

    def __init__(self, images: Tensor, labels: Tensor, samples: Tensor | None = None) -> None:
        self.images, self.labels, self.samples = images, labels, samples

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, samples: Tensor) -> Tensor:
        return self.images[samples if self.samples is None else self.samples[samples]]

    def to(self, device: torch.device) -> TensorImages:
        """On the training device; on the host nothing is copied, so that ranks go on sharing one tensor."""
        if device.type == "cpu":
            return self
        images = self.images if self.samples is None else self.images[self.samples]
        return TensorImages(images.to(device), self.labels.to(device))

    def subset(self, samples: Tensor) -> TensorImages:
        return TensorImages(self.images, self.labels[samples], samples)


class FileImages:
    """Image files. Paths are one array of bytes, which worker processes share; a list of strings they would copy."""

    in_memory = one_size = False

    def __init__(self, paths: Sequence[str], labels: Tensor, channels: int) -> None:
        self.paths = numpy.array([os.fsencode(path) for path in paths], dtype=numpy.bytes_)
        self.labels, self.mode = labels, "L" if channels == 1 else "RGB"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, samples: Tensor) -> list[Image.Image]:
        return [self._read(Path(os.fsdecode(self.paths[i]))) for i in samples.tolist()]

    def _read(self, path: Path) -> Image.Image:
        try:
            with Image.open(path) as image:
                return image.convert(self.mode)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} cannot be read as an image ({error}). Fetch it again or remove it.") from None

    def to(self, device: torch.device) -> FileImages:
        return self

    def subset(self, samples: Tensor) -> FileImages:
        part = FileImages([], self.labels[samples], 1 if self.mode == "L" else 3)
        part.paths = self.paths[samples.numpy()]
        return part
