"""Reads every image of a data set once, as training will: unreadable ones, and duplicates across splits."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault
from lineage.datamodules.loading.parallel import parallel_map
from lineage.files import reason

CHUNK = 32  # images that a process handles at a time
MOST_NAMED = 5  # duplicates that a note names


class Inspection(NamedTuple):
    """What was found. images: how many each split has. faults: images that cannot be read. notes: about images that
    are in two splits."""

    images: dict[str, int]
    faults: list[Fault]
    notes: list[str]


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


def inspect(splits: dict[str, EncodedImages], advance: Callable[[int], None]) -> Inspection:
    """Read all images of all splits, on all cores. advance: called with the number of images that were read since the
    last call."""
    faults: list[Fault] = []
    digests: dict[str, dict[bytes, int]] = {}
    for split, images in splits.items():
        digests[split] = {}
        for part in parallel_map(partial(_inspect, images), chunks(numpy.arange(len(images)))):
            faults += [found for found in part if isinstance(found, Fault)]
            digests[split] |= {found[0]: found[1] for found in part if not isinstance(found, Fault)}
            advance(len(part))
    counts = {split: len(images) for split, images in splits.items()}
    return Inspection(counts, faults, list(_duplicates(splits, digests)))


def _inspect(images: EncodedImages, samples: numpy.ndarray) -> list[tuple[bytes, int] | Fault]:
    """A digest of each image's bytes and its number, or why it cannot be read."""
    found: list[tuple[bytes, int] | Fault] = []
    for sample in samples.tolist():
        try:
            data = images.read(sample)
            open_image(data, images.channels, images.rotate).whole()
            found.append((hashlib.blake2b(data, digest_size=8).digest(), sample))
        except (OSError, ImageError) as error:
            found.append(Fault(sample, images.name(sample), reason(error)))
    return found


def _duplicates(splits: dict[str, EncodedImages], digests: dict[str, dict[bytes, int]]) -> Iterator[str]:
    """Sentences about images that are in two splits."""
    for first, second in combinations(splits, 2):
        ours, theirs = digests[first], digests[second]
        shared = [digest for digest in theirs if digest in ours]
        if shared:
            names = ((splits[first].name(ours[key]), splits[second].name(theirs[key])) for key in shared[:MOST_NAMED])
            named = "; ".join(f"{one} is {other}" for one, other in names)
            more = "; ..." if len(shared) > MOST_NAMED else ""
            yield f"{len(shared):,} of the {second} images are in {first} too, byte for byte: {named}{more}"
