"""Images of any size, encoded: in files, in an archive's shards, in a table. They are read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from lineage.datamodules.decoding.decoding import CropResize, Encoded, ImageError, open_image
from lineage.datamodules.images import Fault, View
from lineage.datamodules.split import Blobs


class CropView(View, Protocol):
    """A view of images of any size: it says what it wants of each."""

    def crops(self, sample_keys: Tensor, sizes: Tensor) -> Sequence[CropResize]:
        """Of images of the given sizes, (B, 2) of height and width."""


class EncodedImages:
    """A source of encoded images; with `samples`, (N,) int64, only those of them.

    Args:
        labels: (N,) int64, of those.
        channels: of the pixels: 1, grey, or 3, red, green and blue.
        turn: whether to follow the orientation that EXIF says.
    """

    in_memory = one_size = False
    native = None

    def __init__(
        self, blobs: Blobs, labels: Tensor, channels: int, *, turn: bool = True, samples: Tensor | None = None
    ) -> None:
        self.blobs, self.labels, self.channels, self.turn, self.samples = blobs, labels, channels, turn, samples

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, sample: int) -> int:
        """The number of a sample's image among the blobs."""
        return sample if self.samples is None else int(self.samples[sample])

    def open(self, sample: int) -> Encoded:
        """Read a file, and its header. Raises OSError, ImageError."""
        return open_image(self.blobs.read(self.index(sample)), self.channels, self.turn)

    def fill(self, out: Tensor, sample_keys: Tensor, view: View | None) -> list[Fault]:
        """As of any source; a row that cannot be read is black, and named in the result."""
        cutting = cast(CropView, view)
        faults: list[Fault] = []
        samples = sample_keys[:, 1].tolist()
        opened = [self._opened(row, sample, faults) for row, sample in enumerate(samples)]
        sizes = torch.tensor([(1, 1) if one is None else one.size for one in opened])
        batch = out.permute(0, 2, 3, 1).numpy()  # (B, H, W, C), the same memory
        for row, (one, cut) in enumerate(zip(opened, cutting.crops(sample_keys, sizes), strict=True)):
            try:
                batch[row] = 0 if one is None else one.crop_resize(cut)
            except ImageError as error:
                batch[row] = 0
                faults.append(Fault(row, self.blobs.name(self.index(samples[row])), str(error)))
            opened[row] = None  # its memory is for the next
        shown = cutting(out, sample_keys)
        if shown is not out:
            out.copy_(shown)
        return faults

    def _opened(self, row: int, sample: int, faults: list[Fault]) -> Encoded | None:
        try:
            return self.open(sample)
        except (OSError, ImageError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            faults.append(Fault(row, self.blobs.name(self.index(sample)), reason))
            return None

    def to(self, device: torch.device) -> EncodedImages:
        return self

    def subset(self, samples: Tensor) -> EncodedImages:
        chosen = samples if self.samples is None else self.samples[samples]
        return EncodedImages(self.blobs, self.labels[samples], self.channels, turn=self.turn, samples=chosen)
