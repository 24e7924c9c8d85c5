"""The protocol of image sources, and the source that is one tensor in memory.

Two properties decide how batches are made: `one_size`, whether all images have one size, so that they are a tensor,
which can lie on the training device; and whether the recipe augments on the host (a View), in worker processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Fault(NamedTuple):
    """An image that cannot be read: its row in the batch, its name and the reason."""

    row: int
    name: str
    reason: str


class View(Protocol):
    """The part of a recipe's augmentation that runs on the host (recipes/augment/host.py)."""

    def output_size(self, native: tuple[int, int] | None, epoch: int) -> tuple[int, int]:
        """Height and width of the result in an epoch, for images of one `native` size or, with None, of any size."""

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        """(B, C, H, W) uint8 of one size and sample keys (B, 3) -> (B, C, *output_size) uint8."""


class Images(Protocol):
    """A source of images with labels (N,) int64."""

    labels: Tensor
    one_size: ClassVar[bool]

    @property
    def channels(self) -> int: ...

    @property
    def native(self) -> tuple[int, int] | None:
        """Height and width, if all images have one size."""

    def __len__(self) -> int: ...
    def to(self, device: torch.device) -> Images: ...
    def subset(self, samples: Tensor) -> Images: ...

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        """Write the view's result for some images into `out`, (B, C, *output_size) uint8. sample_keys: (B, 3) int64,
        the epoch, sample and repetition of each."""


@dataclass(eq=False)
class TensorImages:
    """A source that is one uint8 tensor (N, C, H, W) in memory. samples: (M,) int64, the index in the tensor of each
    image; None: all of them, in order."""

    images: Tensor
    labels: Tensor
    samples: Tensor | None = None
    one_size: ClassVar = True

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def native(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, samples: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 of samples (B,) int64."""
        return self.images[self._indices(samples)]

    def _indices(self, samples: Tensor) -> Tensor:
        return samples if self.samples is None else self.samples[samples]

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        images = self[sample_keys[:, 1]]
        out.copy_(images if view is None else view(images, sample_keys))
        return []

    def to(self, device: torch.device) -> TensorImages:
        """A copy on the training device. On the CPU nothing is copied."""
        if device.type == "cpu":
            return self
        images, samples = self.images, self.samples
        if samples is not None and len(samples) < len(images):  # only those are needed there
            images, samples = images[samples], None
        return TensorImages(images.to(device), self.labels.to(device), None if samples is None else samples.to(device))

    def subset(self, samples: Tensor) -> TensorImages:
        return TensorImages(self.images, self.labels[samples], self._indices(samples))


def resize_or_pad(images: Tensor, resolution: int, show: str) -> Tensor:
    """(N, C, H, W) uint8 to (N, C, resolution, resolution) uint8."""
    height, width = images.shape[2:]
    if height == width == resolution:
        return images
    if show == "pad" and resolution >= max(height, width):
        top, left = (resolution - height) // 2, (resolution - width) // 2
        return F.pad(images, (left, resolution - width - left, top, resolution - height - top))
    resized = [
        F.interpolate(chunk.float(), (resolution, resolution), mode="bilinear", antialias=True).round().to(torch.uint8)
        for chunk in images.split(4096)
    ]
    return torch.cat(resized)
