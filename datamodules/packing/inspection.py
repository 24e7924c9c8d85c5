"""Reads every image of a data set once, as training will, to find those that cannot be read."""

from collections.abc import Callable
from functools import partial

import numpy

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.decoding import ImageError
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault
from lineage.datamodules.loading.parallel import parallel_map
from lineage.files import reason

CHUNK = 32  # images that a process handles at a time


def encoded_splits(data: ImageDataModule) -> dict[str, EncodedImages]:
    """The splits of a loaded data set that have images of their own. Raises DataError: they are not encoded images."""
    splits: dict[str, EncodedImages] = {}
    for name in ("train", "test", "val"):  # val may be the test set
        images = getattr(data, name)
        if not isinstance(images, EncodedImages):
            raise DataError("These images are held in memory, not in files: there is nothing to prepare.")
        if len(images) and all(images is not other for other in splits.values()):
            splits[name] = images
    return splits


def chunks(samples: numpy.ndarray) -> list[numpy.ndarray]:
    return [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]


def find_unreadable(splits: dict[str, EncodedImages], advance: Callable[[int], None]) -> list[Fault]:
    """Read all images of all splits, on all cores. `advance` is called with the number of images that were read since
    its last call."""
    found: list[Fault] = []
    for images in splits.values():
        parts = chunks(numpy.arange(len(images)))
        for part, faults in zip(parts, parallel_map(partial(_find, images), parts), strict=True):
            found += faults
            advance(len(part))
    return found


def _find(images: EncodedImages, samples: numpy.ndarray) -> list[Fault]:
    faults = []
    for sample in samples.tolist():
        try:
            images.open(sample).whole()
        except (OSError, ImageError) as error:
            faults.append(Fault(sample, images.name(sample), reason(error)))
    return faults
