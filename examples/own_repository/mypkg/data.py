"""Spots of light: which quarter of the image is the spot in?"""

from collections.abc import Iterator
from pathlib import Path

import numpy

from lineage.datamodules.memory import MemoryDataModule

SIDE = 16  # pixels


class Blobs(MemoryDataModule):
    """512 training and 128 test images of four classes, drawn from a seed."""

    def files(self) -> list[Path]:
        return []

    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        generator = numpy.random.default_rng(0)
        for count in (512, 128):
            labels = generator.integers(0, 4, count)
            centres = (numpy.stack(numpy.divmod(labels, 2)) + generator.uniform(0.2, 0.8, (2, count))) * SIDE / 2
            rows, columns = numpy.mgrid[:SIDE, :SIDE]
            distances = (rows - centres[0, :, None, None]) ** 2 + (columns - centres[1, :, None, None]) ** 2
            noise = generator.uniform(0, 64, distances.shape)
            yield (191 * numpy.exp(-distances / 6) + noise).astype(numpy.uint8)[:, None], labels
