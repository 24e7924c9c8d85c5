"""Sizes, colours, mean and deviation of a set of encoded images, measured on a sample. No torch.

They are measured once and kept in the user's cache, until an image changes.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.discovery.user_cache import store
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import announce, parallel_map
from lineage.datamodules.split import Blobs, Split
from lineage.files import reason

SAMPLE = 2_000  # images: their mean is that of all images to 1 or 2 % of the deviation
SHORT_SIDE = 256  # pixels to which they are reduced first, about the size that a network sees
MAX_BYTES = 2 * 2**30  # of images of one size that are held in memory
MAX_HEADERS = 500_000  # files that are opened to see whether all have one size
DRIFT = 0.02  # of the range of levels: how far the mean of the same images may move when an unreadable one is repaired
MIN_SIDE = 32  # pixels: the input of LeNet-5 and of most networks for small images; smaller images are enlarged to it
VALIDATION_SHARE = 10  # a tenth of the training images


class Statistics(NamedTuple):
    """The measured properties.

    Attributes:
        channels: 1 if every image of the sample is grey, else 3.
        mean, std: of pixels in [0, 1] per channel; each image has the same weight.
        smallest, largest: height and width of the image with the smallest and largest area.
        median: of heights and of widths.
        side: in pixels, if all images, not only the sample, are squares of one size and fit in memory; else None.
        unreadable: images of the sample, with the reason.
    """

    channels: int
    mean: list[float]
    std: list[float]
    smallest: list[int]
    median: list[int]
    largest: list[int]
    side: int | None
    unreadable: list[str]

    def sizes(self) -> str:
        """For messages, width first."""
        small, middle, large = (f"{width}x{height}" for height, width in (self.smallest, self.median, self.largest))
        return middle if small == large else f"{small} to {large} (median {middle})"


class ImageStatistics(NamedTuple):
    """Of one image: height and width, mean of its pixels and of their squares per channel, whether it is grey."""

    size: tuple[int, int]
    mean: numpy.ndarray
    square: numpy.ndarray
    grey: bool


def infer_missing(splits: Mapping[str, Split], data: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the YAML of a data set may leave null, by key. data: the YAML's values. Those that are given and
    affect others (channels, resolution) are used. Raises DataError: no image can be read, or they have several sizes
    and `resolution` is given."""
    rotate, channels, train = bool(data["exif_rotation"]), data["channels"], splits["train"]
    measured = split_statistics(train, rotate, channels)
    if data["resolution"] is not None and measured.smallest != measured.largest:
        raise DataError(
            f"datamodule.resolution={data['resolution']}: these images have sizes from {measured.sizes()}.\n"
            "Set recipe.train_res and recipe.test_res instead."
        )
    others = [split for split in splits.values() if split is not train and measured.side]
    sides = {measured.side, *(split_statistics(split, rotate, channels).side for split in others)}
    count, side = sum(map(len, splits.values())), max(measured.side or 0, MIN_SIDE)
    fits = measured.side and sides == {measured.side} and count * measured.channels * side**2 <= MAX_BYTES
    return {
        "num_classes": len(train.classes),
        "channels": measured.channels,
        "mean": measured.mean,
        "std": measured.std,
        "resolution": side if fits else None,
        "val_size": None if "val" in splits or data.get("folds") else validation_size(train),
    }


def validation_size(train: Split) -> int:
    """Training images to hold out, if val_size is null and there are no validation images."""
    return max(min(len(train) // VALIDATION_SHARE, len(train) - len(train.classes)), 1)  # a class keeps an image


def split_statistics(split: Split, rotate: bool, channels: int | None) -> Statistics:
    """From the cache, or measured. Raises DataError: no image can be read."""
    cached = cached_statistics(split, rotate, channels)
    if cached is not None:
        return cached
    announce(f"measuring the images of {split.name} once", len(split))
    measured = measure(split.blobs, rotate=rotate, channels=channels)
    content = json.dumps({"stamp": _stamp(split, measured.side), **measured._asdict()}).encode()
    store(_file(split, rotate, channels), lambda file: file.write(content))
    return measured


def cached_statistics(split: Split, rotate: bool, *channels: int | None) -> Statistics | None:
    """From the cache, with the first of these numbers of channels (None: inferred) that it has; None if they are
    missing, damaged or of images that were replaced."""
    for number in channels:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            values = json.loads(_file(split, rotate, number).read_text())
            if values.pop("stamp") == _stamp(split, values["side"]):
                return Statistics(**values)
    return None


def nearly_equal(before: Any, now: Any) -> bool:
    """Whether two means, or deviations, can be of the same images, some of which could not be read."""
    lists = [list(values) for values in (before, now) if isinstance(values, Sequence)]
    same_length = len(lists) == 2 and len(lists[0]) == len(lists[1])
    return same_length and all(abs(a - b) <= DRIFT for a, b in zip(*lists, strict=True))


def _file(split: Split, rotate: bool, channels: int | None) -> Path:
    return split.cache / f"statistics-{'rotated' if rotate else 'stored'}-{channels or 'inferred'}.json"


def _stamp(split: Split, side: int | None) -> str:
    """It changes when an image of the sample is replaced; of any of the images, if `side` is the size of all."""
    return f"{split.digest} {split.stamp(range(len(split)) if side else sampled_images(len(split)))}"


def sampled_images(count: int) -> list[int]:
    """The images that are measured, evenly spaced among all."""
    return numpy.unique(numpy.linspace(0, count - 1, SAMPLE).astype(int)).tolist()


def measure(blobs: Blobs, *, rotate: bool, channels: int | None) -> Statistics:
    """Measure a sample, which depends on the number of images only, so that every process has the same result. Raises
    DataError: none of them can be read.

    Args:
        rotate: whether to rotate a picture as its EXIF orientation says.
        channels: 1 or 3, to which they are converted; None: inferred.
    """
    sample = sampled_images(len(blobs))
    results = list(parallel_map(partial(_measure_image, blobs, rotate, channels or 3), sample, chunk=20))
    images = [result for result in results if isinstance(result, ImageStatistics)]
    unreadable = [result for result in results if isinstance(result, str)]
    if not images:
        raise DataError(f"None of {len(sample):,} images can be read, for example {unreadable[0]}.")

    channels = channels or (1 if all(image.grey for image in images) else 3)
    mean = numpy.mean([image.mean for image in images], axis=0)[:channels]
    std = numpy.sqrt(numpy.maximum(numpy.mean([image.square for image in images], axis=0)[:channels] - mean**2, 0))
    sizes = sorted((list(image.size) for image in images), key=lambda size: (size[0] * size[1], size))
    return Statistics(
        channels=channels,
        mean=[round(float(value), 4) for value in mean],
        std=[max(round(float(value), 4), 0.0001) for value in std],  # not 0: normalisation divides by it
        smallest=sizes[0],
        median=numpy.median(sizes, axis=0).astype(int).tolist(),
        largest=sizes[-1],
        side=_side_of_all(blobs, sizes, channels),
        unreadable=unreadable,
    )


def _measure_image(blobs: Blobs, rotate: bool, channels: int, image: int) -> ImageStatistics | str:
    try:
        opened = open_image(blobs.read(image), channels, rotate)
        height, width = opened.size
        shrink = max(min(opened.size) / SHORT_SIDE, 1)
        reduced = max(round(height / shrink), 1), max(round(width / shrink), 1)
        pixels = opened.resize_box((0, 0, height, width), reduced, "area", beyond=True).reshape(-1, channels)
    except (ImageError, OSError) as error:
        return f"{blobs.name(image)} ({reason(error)})"
    counts = numpy.stack([numpy.bincount(values, minlength=256) for values in numpy.ascontiguousarray(pixels.T)])
    share, levels = counts / len(pixels), numpy.arange(256) / 255
    grey = bool((pixels == pixels[:, :1]).all())
    return ImageStatistics(opened.size, share @ levels, share @ levels**2, grey)


def _side_of_all(blobs: Blobs, sizes: list[list[int]], channels: int) -> int | None:
    height, width = sizes[0]
    fits = len(blobs) * channels * height**2 <= MAX_BYTES and len(blobs) <= MAX_HEADERS
    if height != width or sizes[0] != sizes[-1] or not fits:
        return None
    same = parallel_map(partial(_is_square, blobs, height), range(len(blobs)), chunk=1000)
    return height if all(same) else None


def _is_square(blobs: Blobs, side: int, image: int) -> bool:
    """Whether an image has this size; true if it cannot be read."""
    with contextlib.suppress(ImageError, OSError):
        return open_image(blobs.read(image), 3, rotate=False).size == (side, side)
    return True
