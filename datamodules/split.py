"""A split of a data set as it is found on disk or in a table: encoded images, labels and classes. No torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy

from lineage.datamodules.errors import DataError


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
        labels: (N,) int64, indices into `classes`; -1: a class that the weights of an evaluation lack.
        classes: the classes of the training images.
        digest: changes when images are added, removed or renamed.
        cache: the folder for results that are kept between runs.
        stamp: changes when one of these images is replaced; usually Blobs.stamp.
        notes: sentences that the user should read.
    """

    name: str
    blobs: Blobs
    labels: numpy.ndarray
    classes: list[str]
    digest: str
    cache: Path
    stamp: Callable[[Sequence[int]], str]
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> numpy.ndarray:
        """(classes,) int64, the number of images of each class."""
        return numpy.bincount(self.labels[self.labels >= 0], minlength=len(self.classes))


def labels_among(source: Any, classes: Sequence[str]) -> numpy.ndarray:
    """(N,) int64, the labels of an index or a split as numbers in `classes`; -1: a class that these lack."""
    numbers = {name: number for number, name in enumerate(classes)}
    return numpy.array([numbers.get(name, -1) for name in source.classes], numpy.int64)[source.labels]


def held_out(labels: numpy.ndarray, size: int, seed: int) -> numpy.ndarray:
    """The images to hold out for validation, (N,) bool: the same share of each class, but never its last image. Raises
    DataError: so many cannot be held out.

    Shares are proportional to the classes' images, rounded by largest remainders. All is integer arithmetic on PCG64's
    raw stream, which numpy keeps the same in all versions, unlike its permutations.
    """
    counts, total = numpy.bincount(labels), len(labels)
    most = int(numpy.maximum(counts - 1, 0).sum())
    if size > most:
        raise DataError(
            f"datamodule.val_size={size}: of {total:,} training images in {total - most:,} classes at most {most:,} "
            "can be held out, since every class keeps one.\nAdd images, or validation images of their own."
        )
    classes, keys = numpy.split(numpy.random.PCG64(seed).random_raw(len(counts) + total), [len(counts)])
    shares, remainders = numpy.divmod(counts * size, total)
    largest_first = numpy.lexsort((classes, -remainders))  # ties in random order
    while missing := size - int(shares.sum()):
        shares[largest_first[(counts - 1 > shares)[largest_first]][:missing]] += 1
    order = numpy.lexsort((keys, labels))  # by class, each in random order
    position = numpy.arange(total) - numpy.repeat(numpy.cumsum(counts) - counts, counts)  # within its class
    chosen = numpy.empty(total, bool)
    chosen[order] = position < shares[labels[order]]
    return chosen


def in_fold(labels: numpy.ndarray, fold: int, folds: int, seed: int) -> numpy.ndarray:
    """The images of a fold, (N,) bool. Folds are disjoint, hold all images, and have nearly as many of each class.
    Raises DataError: it has all images of a class."""
    keys, chosen = numpy.random.PCG64(seed).random_raw(len(labels)), numpy.empty(len(labels), bool)
    chosen[numpy.lexsort((keys, labels))] = numpy.arange(len(labels)) % folds == fold
    if missing := len(numpy.setdiff1d(labels, labels[~chosen])):
        raise DataError(f"datamodule.fold={fold}: it has all images of {missing:,} classes; a class needs two or more.")
    return chosen


def check_same_images(now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Raise DataError if a run that continues has other numbers of images or steps, or other validation images. `now`
    and `before` are the states of the data module; those of older runs lack keys."""
    for key, count in now.items():
        if isinstance(count, int) and before.get(key, count) != count:
            what = "trainer.limit_train_batches" if key == "steps_per_epoch" else "them"
            raise DataError(
                f"The run was started with {before[key]:,} {key.replace('_', ' ')}, and there are {count:,} now: bring "
                f"{what} back, or choose another name, run=NAME."
            )
    validation = now.get("validation")
    if now.get("held_out") != before.get("held_out") or before.get("validation", validation) != validation:
        raise DataError("The run was started with other validation images: choose another name, run=NAME.")
