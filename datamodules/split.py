"""A split of a data set as it is found on a disk or in a table: encoded images, labels, classes. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy


class Blobs(Protocol):
    """Encoded images as bytes, by number. Worker processes have a copy."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """Raises OSError; DataError: it is not this image's fault."""

    def name(self, index: int) -> str:
        """What a message calls it: a path, or an archive and its member."""

    def stamp(self, images: Sequence[int], dates: bool = True) -> str:
        """Of some images: another one once one of them was replaced, without `dates` by one of another size."""


@dataclass(frozen=True, eq=False)
class Split:
    """The images of a split.

    Attributes:
        name: what a message calls it.
        labels: (N,) int64, by place among `classes`.
        classes: all that the training images have.
        digest: another one once images were added, removed or renamed.
        cache: the folder that keeps what is found out; None: it cannot be written.
        stamp: of some images, by number: another one once one of them was replaced.
        notes: what the user should know about these images, in sentences.
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
