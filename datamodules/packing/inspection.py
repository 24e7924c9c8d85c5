"""Reads every image of a data set once, as training will: what cannot be read, what is odd, what is there twice."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy
from PIL import Image

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.decoding import ORIENTATION, ImageError, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault
from lineage.datamodules.loading.parallel import parallel_map

PART = 32  # images that a process treats at a time
LARGE = 50_000_000  # pixels that take a worker a second
ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}  # of Pillow's names of formats; others are their own
NAMED = 5  # of images that are there twice


class Header(NamedTuple):
    """What an image's first bytes say: the usual ending of its format; what is odd about it, in words."""

    ending: str
    odd: frozenset[str]


class Inspection(NamedTuple):
    """What was found.

    Attributes:
        images: the number of each split.
        faults: what cannot be read, with names and reasons.
        odd: how many images are what.
        notes: of images that are there twice, in sentences.
    """

    images: dict[str, int]
    faults: list[Fault]
    odd: Counter[str]
    notes: list[str]


class Looked(NamedTuple):
    """A part of a split. digests: (n,) uint64, of the bytes of each image."""

    digests: numpy.ndarray
    odd: Counter[str]
    faults: list[Fault]


def encoded_splits(data: ImageDataModule) -> dict[str, EncodedImages]:
    """The splits of a loaded data set that have images of their own.

    Raises:
        DataError: they are not encoded images.
    """
    splits: dict[str, EncodedImages] = {}
    for name in ("train", "test", "val"):  # val may be the test set
        images = getattr(data, name)
        if not isinstance(images, EncodedImages):
            raise DataError("These data have been read whole and are held in memory: there is nothing to prepare.")
        if len(images) and all(images is not other for other in splits.values()):
            splits[name] = images
    return splits


def parts_of(samples: numpy.ndarray) -> list[numpy.ndarray]:
    return [samples[start : start + PART] for start in range(0, len(samples), PART)]


def inspect(splits: dict[str, EncodedImages], advance: Callable[[int], None]) -> Inspection:
    """Read all images of all splits, on all cores.

    Args:
        advance: is told how many images more have been read.
    """
    faults: list[Fault] = []
    odd: Counter[str] = Counter()
    digests: dict[str, numpy.ndarray] = {}
    for split, images in splits.items():
        found = []
        for looked in parallel_map(partial(_look, images), parts_of(numpy.arange(len(images)))):
            found.append(looked.digests)
            faults += looked.faults
            odd += looked.odd
            advance(len(looked.digests))
        digests[split] = numpy.concatenate(found)
    counts = {split: len(images) for split, images in splits.items()}
    return Inspection(counts, faults, odd, list(_twice(splits, digests)))


def header(data: bytes) -> Header:
    """Raises ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, and of size, which open_image bounds
            image = Image.open(io.BytesIO(data))
            rotated = image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception as error:  # Pillow's readers let through whatever their input provokes
        raise ImageError(f"its header cannot be read ({type(error).__name__})") from None
    kind = str(image.format)
    of_16_bits = image.mode.startswith("I") or (kind == "PNG" and data[24] == 16)
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    known = {
        "16-bit": of_16_bits,
        "CMYK": image.mode == "CMYK",
        "EXIF-rotated": rotated,
        "with alpha": transparent,
        "above 50 megapixels": image.width * image.height > LARGE,
    }
    return Header(ENDINGS.get(kind, kind.lower()), frozenset(word for word, is_so in known.items() if is_so))


def fault_of(images: EncodedImages, sample: int, error: OSError | ImageError) -> Fault:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Fault(sample, images.blobs.name(images.index(sample)), reason)


def _look(images: EncodedImages, samples: numpy.ndarray) -> Looked:
    digests, faults = numpy.zeros(len(samples), numpy.uint64), []
    odd: Counter[str] = Counter()
    for place, sample in enumerate(samples.tolist()):
        try:
            data = images.blobs.read(images.index(sample))
            digests[place] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
            open_image(data, images.channels, images.turn).whole()
            odd.update(header(data).odd)
        except (OSError, ImageError) as error:
            faults.append(fault_of(images, sample, error))
    return Looked(digests, odd, faults)


def _twice(splits: dict[str, EncodedImages], digests: dict[str, numpy.ndarray]) -> Iterator[str]:
    """Sentences about images that are in two splits; a digest of 0 is of one that cannot be read."""
    for first, second in combinations(splits, 2):
        shared, ours, theirs = numpy.intersect1d(digests[first], digests[second], return_indices=True)
        pairs = [
            f"{_name(splits[first], ours[i])} is {_name(splits[second], theirs[i])}"
            for i in numpy.flatnonzero(shared)[:NAMED]
        ]
        if pairs:
            count = int(numpy.isin(digests[second][digests[second] != 0], shared).sum())
            yield f"{count:,} of the {second} images are in {first} too, byte for byte: {_listed(pairs, count)}"


def _name(images: EncodedImages, sample: int) -> str:
    return images.blobs.name(images.index(int(sample)))


def _listed(pairs: Sequence[str], count: int) -> str:
    return "; ".join(pairs) + ("; ..." if count > len(pairs) else "")
