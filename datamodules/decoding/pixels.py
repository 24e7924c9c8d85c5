"""The images of a part as one array, where all are of one size: decoded once, kept in the user's cache. No torch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from functools import partial

import numpy

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.discovery.statistics import cached_statistics, drop_cached_statistics
from lineage.datamodules.discovery.user_cache import alone, keep
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import announce, parallel_map
from lineage.datamodules.split import Blobs, Split

PART = 500  # images that a process decodes at a time


class SeveralSizes(DataError):
    """Images that were taken for those of one size are not."""


def pixels_of(part: Split, channels: int, turn: bool) -> tuple[numpy.ndarray, dict[int, str]]:
    """(N, channels, side, side) uint8, and why images cannot be read, which are black.

    The pixels are pages of a file that processes share, where the cache can be written and every image was read.

    Raises:
        DataError: no image can be read, or one is of another size than the first.
    """
    if part.cache is None:
        return decoded(part.blobs, channels, turn, part.name)
    state = f"{part.digest} {part.stamp(range(len(part)))} {channels} {turn}"
    file = part.cache / f"pixels-{hashlib.blake2b(state.encode(), digest_size=16).hexdigest()}.npy"
    with alone(part.cache):
        with contextlib.suppress(OSError, ValueError, EOFError):
            kept = numpy.load(file, mmap_mode="c", allow_pickle=False)  # what is written to it stays in this process
            if kept.dtype == numpy.uint8 and kept.shape[:2] == (len(part), channels):
                return kept, {}
        try:
            pixels, reasons = decoded(part.blobs, channels, turn, part.name)
        except SeveralSizes as error:
            facts = cached_statistics(part, turn, None) or cached_statistics(part, turn, channels)
            if facts is None or facts.side is None:
                raise
            drop_cached_statistics(part)
            raise DataError(
                f"{error}\nIt was replaced since all were looked at: the same command looks anew."
            ) from None
        if reasons:
            return pixels, reasons
        for old in part.cache.glob("pixels-*"):
            with contextlib.suppress(OSError):
                old.unlink()
        keep(file, lambda opened: numpy.save(opened, pixels))
    return pixels, {}


def decoded(blobs: Blobs, channels: int, turn: bool, what: str) -> tuple[numpy.ndarray, dict[int, str]]:
    """All images of one size: (N, channels, H, W) uint8, and why some cannot be read, which are black.

    Args:
        what: the images are, in words.

    Raises:
        DataError: no image can be read, or one is of another size than the first.
    """
    pixels, reasons = None, dict[int, str]()
    announce(f"decoding the {len(blobs):,} images of {what} once", len(blobs))
    splits = [range(start, min(start + PART, len(blobs))) for start in range(0, len(blobs), PART)]
    for images, made in zip(splits, parallel_map(partial(_of_some, blobs, channels, turn), splits), strict=True):
        for image, one in zip(images, made, strict=True):
            if isinstance(one, str):
                reasons[image] = one
                continue
            if pixels is None:
                pixels = numpy.zeros((len(blobs), *one.shape), numpy.uint8)
            if pixels.shape[1:] != one.shape:
                raise SeveralSizes(
                    f"{blobs.name(image)} is {one.shape[2]}x{one.shape[1]} and others are "
                    f"{pixels.shape[3]}x{pixels.shape[2]}: images of several sizes have no datamodule.resolution."
                )
            pixels[image] = one
    if pixels is None:
        raise DataError(f"Of {what} no image can be read, {blobs.name(0)} ({reasons[0]}) the first.")
    return pixels, reasons


def _of_some(blobs: Blobs, channels: int, turn: bool, images: Sequence[int]) -> list[numpy.ndarray | str]:
    return [_of_one(blobs, channels, turn, image) for image in images]


def _of_one(blobs: Blobs, channels: int, turn: bool, image: int) -> numpy.ndarray | str:
    """(channels, H, W), or why it cannot be read."""
    try:
        return open_image(blobs.read(image), channels, turn).whole().transpose(2, 0, 1)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
