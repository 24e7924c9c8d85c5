"""The images of an index as one array, where all are of one size: decoded once, and kept beside the index. No torch."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy

from datamodules.decoding import ImageError, open_image
from datamodules.errors import DataError
from datamodules.facts import Blobs
from datamodules.index import FileBlobs, Index
from datamodules.scanning import shown
from datamodules.spreading import announce, spread
from datamodules.user_cache import alone

PART = 500  # images that a process decodes at a time


def pixels_of(index: Index, channels: int, turn: bool) -> numpy.ndarray:
    """(N, channels, side, side) uint8; pages of a file that processes share, where the cache can be written.

    Raises:
        DataError: an image cannot be read, or is of another size than the first.
    """
    if index.cache is None:
        return decoded(FileBlobs(index), channels, turn, shown(index.folder))
    file = index.cache / f"pixels-{_state(index, channels, turn)}.npy"
    with alone(index.cache):
        with contextlib.suppress(OSError, ValueError, EOFError):
            kept = numpy.load(file, mmap_mode="c", allow_pickle=False)  # what is written to it stays in this process
            if kept.dtype == numpy.uint8 and kept.shape[:2] == (len(index), channels):
                return kept
        pixels = decoded(FileBlobs(index), channels, turn, shown(index.folder))
        part = file.with_suffix(".part")
        try:
            for old in index.cache.glob("pixels-*"):
                old.unlink()
            with open(part, "wb") as opened:
                numpy.save(opened, pixels)
                os.fsync(opened.fileno())
            part.replace(file)
        except OSError:  # a full disk: they are decoded anew the next time
            part.unlink(missing_ok=True)
    return pixels


def _state(index: Index, channels: int, turn: bool) -> str:
    """Another one when a file was replaced by one of its name, which no folder's time tells."""
    state = hashlib.blake2b(f"{index.digest} {channels} {turn}".encode(), digest_size=16)
    top, paths, ends = os.fsencode(index.folder) + b"/", index.paths.tobytes(), index.offsets.tolist()
    for image, (start, end) in enumerate(pairwise(ends)):
        try:
            status = os.stat(top + paths[start:end])
        except OSError as error:
            raise _fault(FileBlobs(index), image, error.strerror) from None
        state.update(b"%d %d " % (status.st_size, status.st_mtime_ns))
    return state.hexdigest()


def decoded(blobs: Blobs, channels: int, turn: bool, what: str) -> numpy.ndarray:
    """All images of one size: (N, channels, H, W) uint8.

    Args:
        what: the images are, in words.

    Raises:
        DataError: an image cannot be read, or is of another size than the first.
    """
    pixels = None
    announce(f"decoding the {len(blobs):,} images of {what} once", len(blobs))
    parts = [range(start, min(start + PART, len(blobs))) for start in range(0, len(blobs), PART)]
    for images, made in zip(parts, spread(partial(_of_some, blobs, channels, turn), parts), strict=True):
        for image, one in zip(images, made, strict=True):
            if isinstance(one, str):
                raise _fault(blobs, image, one)
            if pixels is None:
                pixels = numpy.empty((len(blobs), *one.shape), numpy.uint8)
            if pixels.shape[1:] != one.shape:
                raise DataError(
                    f"{blobs.name(image)} is {one.shape[2]}x{one.shape[1]} and others are "
                    f"{pixels.shape[3]}x{pixels.shape[2]}: images of several sizes have no datamodule.resolution."
                )
            pixels[image] = one
    assert pixels is not None
    return pixels


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


def _fault(blobs: Blobs, image: int, reason: str | None) -> DataError:
    return DataError(f"{blobs.name(image)} cannot be read as an image ({reason}). Fetch it again or remove it.")
