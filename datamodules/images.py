"""Images in memory: one tensor, of one size.

Three facts of a source of images decide how batches are made of it: whether it is `in_memory`, so that it can lie on
the training device; whether its images have `one_size`, so that a batch is one tensor; and whether something is done on
the host (a View), image by image, so that worker processes are needed (base.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Fault(NamedTuple):
    """An image that cannot be read: the row of the batch that waits for it, its name, and why not."""

    row: int
    name: str
    reason: str


class View(Protocol):
    """What a recipe does on the host (recipes/augment/host.py).

    output_size: height and width of the result in an epoch, of images of one native size or, None, of any.
    The call: (B, C, H, W) uint8 of one size, and sample keys -> (B, C, *output_size) uint8.
    """

    def output_size(self, native: tuple[int, int] | None, epoch: int) -> tuple[int, int]: ...
    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor: ...


class Images(Protocol):
    """A source of images with labels (N,) int64."""

    labels: Tensor
    channels: int
    in_memory: bool
    one_size: bool

    @property
    def native(self) -> tuple[int, int] | None:
        """Height and width of images of one size."""

    def __len__(self) -> int: ...
    def to(self, device: torch.device) -> Images: ...
    def subset(self, samples: Tensor) -> Images: ...

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        """Write images, as the view shows them, to `out`, (B, C, *output_size) uint8.

        Args:
            sample_keys: (B, 3) int64, the epoch, sample and repetition of each.
        """


class InMemoryImages(Images, Protocol):
    """A source that is in memory hands out a batch without a copy."""

    def __getitem__(self, samples: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 of samples (B,) int64."""

    def faults_at(self, samples: Tensor) -> list[Fault]:
        """Those of a batch, by its rows."""


class TensorImages:
    """One uint8 tensor (N, C, H, W): a batch is a gather. With `samples`, only those of them.

    Args:
        faults: of images of the tensor that could not be read, by their place in it.
    """

    in_memory = one_size = True

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        samples: Tensor | None = None,
        faults: Mapping[int, Fault] | None = None,
    ) -> None:
        self.images, self.labels, self.samples, self.faults = images, labels, samples, faults or {}
        self.channels = images.shape[1]

    @property
    def native(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, samples: Tensor) -> Tensor:
        return self.images[self._places(samples)]

    def _places(self, samples: Tensor) -> Tensor:
        return samples if self.samples is None else self.samples[samples]

    def faults_at(self, samples: Tensor) -> list[Fault]:
        places = self._places(samples).tolist() if self.faults else []
        return [self.faults[place]._replace(row=row) for row, place in enumerate(places) if place in self.faults]

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        images = self[sample_keys[:, 1]]
        out.copy_(images if view is None else view(images, sample_keys))
        return self.faults_at(sample_keys[:, 1])

    def to(self, device: torch.device) -> TensorImages:
        """On the training device; on the host nothing is copied, so that ranks go on sharing one tensor."""
        if device.type == "cpu":
            return self
        images = self.images if self.samples is None else self.images[self.samples]
        faults = {fault.row: fault for fault in self.faults_at(torch.arange(len(self)))}
        return TensorImages(images.to(device), self.labels.to(device), None, faults)

    def subset(self, samples: Tensor) -> TensorImages:
        return TensorImages(self.images, self.labels[samples], self._places(samples), self.faults)
