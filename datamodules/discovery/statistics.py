"""What a set of encoded images does not say itself: sizes, colours, mean and deviation, from a sample. No torch.

They are found once, and kept in the user's cache until an image of the sample is another.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.discovery.user_cache import keep
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import announce, parallel_map
from lineage.datamodules.split import Blobs, Split

SAMPLE = 2_000  # images that are looked at: their mean is that of all to 1 or 2 % of the deviation
SHORT_SIDE = 256  # pixels to which they are reduced first, as a network sees them
MOST_BYTES = 2 * 2**30  # of images of one size that are held in memory
MOST_HEADERS = 500_000  # files that are opened to see whether all are of one size
DRIFT = 0.02  # of the range of levels: how far the mean of the same images may move, once one of them is mended
LEAST_SIDE = 32  # pixels: LeNet-5's, and that of most networks for small images; smaller images are shown at it
VALIDATION_SHARE = 10  # of the training images a tenth, where nobody says how many and the set has none


class Facts(NamedTuple):
    """What was found.

    Attributes:
        channels: 1 if every image of the sample is grey, else 3.
        mean, std: of pixels in [0, 1] per channel, each image counting the same.
        smallest, largest: height and width, by area. median: of either.
        side: of all images, in pixels, where all are squares of one size and fit in memory; else None.
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
        """For people, width first."""
        small, middle, large = (f"{width}x{height}" for height, width in (self.smallest, self.median, self.largest))
        return middle if small == large else f"{small} to {large} (median {middle})"


class Look(NamedTuple):
    """One image: height and width, means of its pixels and of their squares per channel, whether it is grey."""

    size: tuple[int, int]
    mean: numpy.ndarray
    square: numpy.ndarray
    grey: bool


def infer_missing(splits: Mapping[str, Split], data: Mapping[str, Any]) -> dict[str, Any]:
    """What the YAML of a data set leaves null, by its keys; what `data`, its values, says goes before.

    Raises:
        DataError: no image can be read; they have several sizes, and `resolution` is given.
    """
    turn, channels, train = bool(data["exif_rotation"]), data["channels"], splits["train"]
    facts = split_statistics(train, turn, channels)
    if data["resolution"] is not None and facts.smallest != facts.largest:
        raise DataError(
            f"datamodule.resolution={data['resolution']}: these images have sizes from {facts.sizes()}.\n"
            "What a network sees of them is recipe.train_res and recipe.test_res."
        )
    sides = {split_statistics(split, turn, channels).side for split in splits.values()} if facts.side else {None}
    count, side = sum(map(len, splits.values())), max(facts.side or 0, LEAST_SIDE)
    in_memory = facts.side and sides == {facts.side} and bytes_of(count, facts.channels, side) <= MOST_BYTES
    return {
        "num_classes": len(train.classes),
        "channels": facts.channels,
        "mean": facts.mean,
        "std": facts.std,
        "resolution": side if in_memory else None,
        "val_size": None if "val" in splits else validation_size(train),
    }


def validation_size(train: Split) -> int:
    """Training images that are held out where the set has no validation images."""
    return max(len(train) // VALIDATION_SHARE, 1)


def split_statistics(split: Split, turn: bool, channels: int | None) -> Facts:
    """From the cache, or by looking at the images. Raises DataError: none can be read."""
    known = cached_statistics(split, turn, channels)
    if known is not None:
        return known
    announce(f"looking at images of {split.name} once", len(split))
    facts = look(split.blobs, turn=turn, channels=channels)
    if split.cache is not None:
        kept = json.dumps({"stamp": _stamp(split), **facts._asdict()})
        keep(split.cache / _file(turn, channels), lambda opened: opened.write(kept.encode()))
    return facts


def cached_statistics(split: Split, turn: bool, channels: int | None) -> Facts | None:
    """From the cache; None if they are not there, damaged, or of images that were replaced since."""
    if split.cache is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads((split.cache / _file(turn, channels)).read_text())
            if kept.pop("stamp") == _stamp(split):
                return Facts(**kept)
    return None


def drop_cached_statistics(split: Split) -> None:
    """An image beyond the sample was replaced."""
    if split.cache is not None:
        with contextlib.suppress(OSError):
            for file in split.cache.glob("facts-*.json"):
                file.unlink()


def nearly_equal(before: Any, now: Any) -> bool:
    """Whether two means, or deviations, are of the same images, but for some that could not be read."""
    lists = [list(values) for values in (before, now) if isinstance(values, Sequence)]
    same_kind = len(lists) == 2 and len(lists[0]) == len(lists[1])
    return same_kind and all(abs(a - b) <= DRIFT for a, b in zip(*lists, strict=True))


def _file(turn: bool, channels: int | None) -> str:
    return f"facts-{'turned' if turn else 'stored'}-{channels or 'found'}.json"


def _stamp(split: Split) -> str:
    return f"{split.digest} {split.stamp(sample_of(len(split)))}"


def sample_of(count: int) -> list[int]:
    """The images that are looked at, spread over all."""
    return numpy.unique(numpy.linspace(0, count - 1, SAMPLE).astype(int)).tolist()


def look(blobs: Blobs, *, turn: bool, channels: int | None) -> Facts:
    """Look at images that are spread over all: a function of their number, so every process finds the same.

    Args:
        turn: whether to follow the orientation that EXIF says.
        channels: 1 or 3, as which to see them; None: found.

    Raises:
        DataError: none of them can be read.
    """
    sample = sample_of(len(blobs))
    splits = [sample[start : start + 20] for start in range(0, len(sample), 20)]
    seen = [one for split in parallel_map(partial(_look_at, blobs, turn, channels or 3), splits) for one in split]
    looks = [one for one in seen if isinstance(one, Look)]
    unreadable = [one for one in seen if isinstance(one, str)]
    if not looks:
        raise DataError(f"Of {len(sample):,} images none can be read, {unreadable[0]} the first.")

    channels = channels or (1 if all(one.grey for one in looks) else 3)
    mean = numpy.mean([one.mean for one in looks], axis=0)[:channels]
    std = numpy.sqrt(numpy.maximum(numpy.mean([one.square for one in looks], axis=0)[:channels] - mean**2, 0))
    sizes = sorted((list(one.size) for one in looks), key=lambda size: (size[0] * size[1], size))
    return Facts(
        channels=channels,
        mean=[round(float(value), 4) for value in mean],
        std=[max(round(float(value), 4), 0.0001) for value in std],  # it divides
        smallest=sizes[0],
        median=numpy.median(sizes, axis=0).astype(int).tolist(),
        largest=sizes[-1],
        side=_side_of_all(blobs, sizes, channels),
        unreadable=unreadable,
    )


def bytes_of(count: int, channels: int, side: int) -> int:
    """Memory of square images, one byte a value."""
    return count * channels * side**2


def _look_at(blobs: Blobs, turn: bool, channels: int, images: Sequence[int]) -> list[Look | str]:
    return [_look_at_one(blobs, turn, channels, image) for image in images]


def _look_at_one(blobs: Blobs, turn: bool, channels: int, image: int) -> Look | str:
    try:
        opened = open_image(blobs.read(image), channels, turn)
        height, width = opened.size
        shrink = max(min(opened.size) / SHORT_SIDE, 1)
        reduced = max(round(height / shrink), 1), max(round(width / shrink), 1)
        pixels = opened.resize_box((0, 0, height, width), reduced, "area", beyond=True).reshape(-1, channels)
    except (ImageError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return f"{blobs.name(image)} ({reason or error})"
    counts = numpy.stack([numpy.bincount(values, minlength=256) for values in numpy.ascontiguousarray(pixels.T)])
    share, levels = counts / len(pixels), numpy.arange(256) / 255
    return Look(opened.size, share @ levels, share @ levels**2, grey=bool((pixels == pixels[:, :1]).all()))


def _side_of_all(blobs: Blobs, sizes: list[list[int]], channels: int) -> int | None:
    height, width = sizes[0]
    fits = bytes_of(len(blobs), channels, height) <= MOST_BYTES and len(blobs) <= MOST_HEADERS
    if height != width or sizes[0] != sizes[-1] or not fits:
        return None
    splits = [range(start, min(start + 1000, len(blobs))) for start in range(0, len(blobs), 1000)]
    return height if all(parallel_map(partial(_are_squares, blobs, height), splits)) else None


def _are_squares(blobs: Blobs, side: int, images: Sequence[int]) -> bool:
    """An image that cannot be read has no size that could differ."""
    for image in images:
        try:
            if _size(blobs.read(image)) != (side, side):
                return False
        except (ImageError, OSError):
            continue
    return True


def _size(data: bytes) -> tuple[int, int]:
    """Of a PNG, whose header opens the file, in a tenth of the time."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    return open_image(data, 3, turn=False).size
