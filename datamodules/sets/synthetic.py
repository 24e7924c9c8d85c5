"""Random images of any size, to measure how fast a machine trains without waiting for data."""

from typing import Annotated, Any

import torch
from torch import Tensor

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.images import TensorImages, View
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.text import CAREFUL

MAX_POOL_IMAGES, MAX_POOL_BYTES = 256, 2**28  # all samples are drawn from a pool; 256 images of 224x224 take 38 MB


class Synthetic(ImageDataModule):
    """Random images, the same on every machine: a function of `split_seed`.

    Args:
        samples, test_samples: the number of images for training (with validation) and for the test.
        resolution: image side in pixels.
    """

    def __init__(
        self,
        *,
        samples: Annotated[int, "1 <= x <= 1000000000"],
        test_samples: Annotated[int, "1 <= x <= 1000000000"],
        resolution: Annotated[int, "1 <= x <= 8192"],
        **options: Any,
    ) -> None:
        super().__init__(root="", resolution=resolution, **options)
        self.samples, self.test_samples, self.side = samples, test_samples, resolution
        self.notes = [CAREFUL + "these images are random: they measure speed, and nothing can be learned from them"]

    def connect_training(self, order: EpochOrder, split: BatchSplit, view: View | None, epochs: int) -> None:
        super().connect_training(order, split, view, epochs)
        if view is not None:
            self.notes.append(
                "the recipe augments single images, so these go through worker processes; on the device they stay with "
                "recipe.rand_augment= recipe.auto_augment= recipe.trivial_augment=false recipe.color_jitter=0"
            )

    def read(self) -> tuple[TensorImages, TensorImages]:
        count = max(1, min(MAX_POOL_IMAGES, MAX_POOL_BYTES // (self.channels * self.side**2)))
        generator = torch.Generator().manual_seed(self.split_seed % 2**63)
        size = (count, self.channels, self.side, self.side)
        pool = torch.randint(256, size, dtype=torch.uint8, generator=generator)
        return self._images(pool, self.samples), self._images(pool, self.test_samples)

    def _images(self, pool: Tensor, count: int) -> TensorImages:
        samples = torch.arange(count)
        return TensorImages(pool, samples % self.num_classes, samples % len(pool))
