"""Reads every image of a data set once, as training will: unreadable and unusual ones, and duplicates across splits."""

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy
from PIL import Image

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.decoding import FORMATS, ORIENTATION, ImageError, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault
from lineage.datamodules.loading.parallel import parallel_map
from lineage.files import reason

CHUNK = 32  # images that a process handles at a time
LARGE = 50_000_000  # pixels that take a worker a second
ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}  # by Pillow's name of the format, where the two differ
MOST_NAMED = 5  # duplicates that a note names


class Inspection(NamedTuple):
    """What was found. images: how many each split has. faults: images that cannot be read. unusual: how many have an
    unusual property, as CMYK. notes: about images that are in two splits."""

    images: dict[str, int]
    faults: list[Fault]
    unusual: Counter[str]
    notes: list[str]


def encoded_splits(data: ImageDataModule) -> dict[str, EncodedImages]:
    """The splits of a loaded data set that have images of their own.

    Raises:
        DataError: they are not encoded images.
    """
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
    """Read all images of all splits, on all cores.

    Args:
        advance: called with the number of images that were read since the last call.
    """
    faults: list[Fault] = []
    unusual: Counter[str] = Counter()
    digests: dict[str, numpy.ndarray] = {}
    for split, images in splits.items():
        found = []
        for part, properties, wrong in parallel_map(partial(_inspect, images), chunks(numpy.arange(len(images)))):
            found.append(part)
            unusual += properties
            faults += wrong
            advance(len(part))
        digests[split] = numpy.concatenate(found)
    counts = {split: len(images) for split, images in splits.items()}
    return Inspection(counts, faults, unusual, list(_duplicates(splits, digests)))


def inspect_header(data: bytes) -> tuple[str, set[str]]:
    """The usual ending of an image's format, and its unusual properties. Raises ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, and of size, which open_image limits
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            rotated = image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception as error:  # Pillow's readers raise whatever their input provokes
        raise ImageError(f"its header cannot be read ({type(error).__name__})") from None
    kind = str(image.format)
    properties = {
        "16-bit": image.mode.startswith("I") or (kind == "PNG" and data[24] == 16),
        "CMYK": image.mode == "CMYK",
        "EXIF-rotated": rotated,
        "with alpha": image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info,
        "above 50 megapixels": image.width * image.height > LARGE,
    }
    return ENDINGS.get(kind, kind.lower()), {name for name, holds in properties.items() if holds}


def _inspect(images: EncodedImages, samples: numpy.ndarray) -> tuple[numpy.ndarray, Counter[str], list[Fault]]:
    """Digests of the bytes of some images, (n,) uint64, 0 where they cannot be read; unusual properties; faults."""
    digests, faults = numpy.zeros(len(samples), numpy.uint64), []
    unusual: Counter[str] = Counter()
    for place, sample in enumerate(samples.tolist()):
        try:
            data = images.read(sample)
            digests[place] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
            open_image(data, images.channels, images.rotate).whole()
            unusual.update(inspect_header(data)[1])
        except (OSError, ImageError) as error:
            faults.append(Fault(sample, images.name(sample), reason(error)))
    return digests, unusual, faults


def _duplicates(splits: dict[str, EncodedImages], digests: dict[str, numpy.ndarray]) -> Iterator[str]:
    """Sentences about images that are in two splits."""
    for first, second in combinations(splits, 2):
        readable = digests[second][digests[second] != 0]
        shared, ours, theirs = numpy.intersect1d(digests[first], readable, return_indices=True)
        if len(shared):
            theirs = numpy.flatnonzero(digests[second])[theirs]
            some = list(zip(ours.tolist(), theirs.tolist(), strict=True))[:MOST_NAMED]
            named = "; ".join(f"{splits[first].name(i)} is {splits[second].name(j)}" for i, j in some)
            count = int(numpy.isin(readable, shared).sum())
            more = "; ..." if count > len(some) else ""
            yield f"{count:,} of the {second} images are in {first} too, byte for byte: {named}{more}"
