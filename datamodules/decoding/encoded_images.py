"""Encoded images of any size, in files, an archive's shards or a table. They are decoded when a batch needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor

from lineage.datamodules.decoding.decoding import Encoded, ImageError, open_image
from lineage.datamodules.images import Fault, View
from lineage.datamodules.split import Blobs
from lineage.files import reason
from lineage.pillow import CropResize


class CropView(View, Protocol):
    """A view of images of any size, which chooses a box of each."""

    def crops(self, sample_keys: Tensor, sizes: Tensor) -> Sequence[CropResize]:
        """The boxes of images with these sizes, (B, 2) of height and width."""


@dataclass(eq=False)
class EncodedImages:
    """A source of encoded images.

    Args:
        labels: (N,) int64.
        channels: of the pixels: 1, grey, or 3, red, green and blue.
        rotate: whether to rotate a picture as its EXIF orientation says.
        samples: (N,) int64, the number of each image among the blobs; None: all of them, in order.
    """

    blobs: Blobs
    labels: Tensor
    channels: int
    rotate: bool = True
    samples: Tensor | None = None
    one_size: ClassVar = False
    native: ClassVar = None

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, sample: int) -> int:
        """The number of a sample's image among the blobs."""
        return sample if self.samples is None else int(self.samples[sample])

    def read(self, sample: int) -> bytes:
        """Raises OSError."""
        return self.blobs.read(self.index(sample))

    def name(self, sample: int) -> str:
        return self.blobs.name(self.index(sample))

    def open(self, sample: int) -> Encoded:
        """Read a file, and decode its header. Raises OSError, ImageError."""
        return open_image(self.read(sample), self.channels, self.rotate)

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        """See Images.fill. The row of an image that cannot be read is black."""
        crop_view = cast(CropView, view)
        faults: list[Fault] = []
        samples = sample_keys[:, 1].tolist()
        images = [self._open(row, sample, faults) for row, sample in enumerate(samples)]
        sizes = torch.tensor([(1, 1) if image is None else image.size for image in images])
        batch = out.permute(0, 2, 3, 1).numpy()  # (B, H, W, C), the same memory
        for row, (image, crop) in enumerate(zip(images, crop_view.crops(sample_keys, sizes), strict=True)):
            try:
                batch[row] = 0 if image is None else image.crop_resize(crop)
            except ImageError as error:
                batch[row] = 0
                faults.append(Fault(row, self.name(samples[row]), reason(error)))
            images[row] = None  # frees its memory
        augmented = crop_view(out, sample_keys)
        if augmented is not out:
            out.copy_(augmented)
        return faults

    def _open(self, row: int, sample: int, faults: list[Fault]) -> Encoded | None:
        try:
            return self.open(sample)
        except (OSError, ImageError) as error:
            faults.append(Fault(row, self.name(sample), reason(error)))
            return None

    def to(self, device: torch.device) -> EncodedImages:
        return self

    def subset(self, samples: Tensor) -> EncodedImages:
        chosen = samples if self.samples is None else self.samples[samples]
        return EncodedImages(self.blobs, self.labels[samples], self.channels, rotate=self.rotate, samples=chosen)
