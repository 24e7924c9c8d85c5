"""A split of a data set as it is found on disk or in a table: encoded images, labels and classes. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy


class Blobs(Protocol):
    """Encoded images as bytes, by number. Every worker process has a copy."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """Raises OSError if this image cannot be read, DataError if the whole data set cannot."""

    def name(self, index: int) -> str:
        """The image's name in messages: a path, or an archive and its member."""

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """A text that changes when one of these images is replaced; without `dates`, only when its size changes."""


@dataclass(frozen=True, eq=False)
class Split:
    """The images of a split.

    Attributes:
        name: its name in messages.
        labels: (N,) int64, indices into `classes`.
        classes: the classes of the training images.
        digest: changes when images are added, removed or renamed.
        cache: the folder for results that are kept between runs; None if it cannot be written.
        stamp: changes when one of these images is replaced; usually Blobs.stamp.
        notes: sentences that the user should read.
    """

    name: str
    blobs: Blobs
    labels: numpy.ndarray
    classes: list[str]
    digest: str
    cache: Path | None
    stamp: Callable[[Sequence[int]], str]
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> numpy.ndarray:
        """(classes,) int64, the number of images of each class."""
        return numpy.bincount(self.labels, minlength=len(self.classes))
