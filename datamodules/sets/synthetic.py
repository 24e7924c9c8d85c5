"""Random images of any size: how fast a machine trains that never waits for data. There is nothing to learn in them."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.images import Fault, View

MOST_IMAGES, MOST_BYTES = 256, 2**28  # of the pool that all samples are drawn from; of 224x224 it takes 38 MB


class SyntheticImages:
    """A pool of random images on the device; sample i is its image places[i].

    Args:
        pool: (P, C, H, W) uint8.
        labels, places: (N,) int64.
    """

    in_memory = one_size = True

    def __init__(self, pool: Tensor, labels: Tensor, places: Tensor) -> None:
        self.pool, self.labels, self.places = pool, labels, places
        self.channels, self.native = pool.shape[1], (pool.shape[2], pool.shape[3])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, samples: Tensor) -> Tensor:
        return self.pool[self.places[samples]]

    def faults_at(self, samples: Tensor) -> list[Fault]:
        return []

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        images = self[sample_keys[:, 1]]
        out.copy_(images if view is None else view(images, sample_keys))
        return []

    def to(self, device: torch.device) -> SyntheticImages:
        return SyntheticImages(*(tensor.to(device) for tensor in (self.pool, self.labels, self.places)))

    def subset(self, samples: Tensor) -> SyntheticImages:
        return SyntheticImages(self.pool, self.labels[samples], self.places[samples])


class Synthetic(ImageDataModule):
    """A data set of random images, the same on every machine: a function of `split_seed`.

    Args:
        samples, test_samples: the number of images, for training (with validation) and for the test.
        resolution: image side in pixels.
    """

    def __init__(
        self,
        *,
        samples: Annotated[int, "1 <= x <= 1000000000"],
        test_samples: Annotated[int, "1 <= x <= 1000000000"],
        resolution: Annotated[int, "1 <= x <= 8192"],
        **facts: Any,
    ) -> None:
        super().__init__(root="", resolution=resolution, **facts)
        self.samples, self.test_samples, self.side = samples, test_samples, resolution
        self.notes = ["these images are random: they show how fast a machine is, and there is nothing to learn"]

    def read(self, share: bool) -> tuple[SyntheticImages, SyntheticImages]:
        count = max(1, min(MOST_IMAGES, MOST_BYTES // (self.channels * self.side**2)))
        draw = torch.Generator().manual_seed(self.split_seed % 2**63)
        pool = torch.randint(256, (count, self.channels, self.side, self.side), dtype=torch.uint8, generator=draw)
        train, test = (torch.arange(size) for size in (self.samples, self.test_samples))
        return self._images(pool, train), self._images(pool, test)

    def _images(self, pool: Tensor, samples: Tensor) -> SyntheticImages:
        return SyntheticImages(pool, samples % self.num_classes, samples % len(pool))
