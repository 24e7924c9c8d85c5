"""All images of a split as one array, if they have one size: decoded once and kept in the user's cache. No torch.

145,600 PNGs of 28x28 (EMNIST letters) on two cores: a command's later starts take 6 s with the cache, 13 s without.
"""

import contextlib
import hashlib
from functools import partial

import numpy

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.discovery.statistics import drop_cached_statistics
from lineage.datamodules.discovery.user_cache import locked, store
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import announce, parallel_map
from lineage.datamodules.split import Blobs, Split
from lineage.files import reason


def load_pixels(split: Split, channels: int, rotate: bool) -> tuple[numpy.ndarray, dict[int, str]]:
    """(N, channels, side, side) uint8, and the reasons of unreadable images, which are black.

    Processes share the pages of one file, if the cache can be written and every image was read.

    Raises:
        DataError: no image can be read, or one has another size than the first.
    """
    if split.cache is None:
        return decode_all(split.blobs, channels, rotate, split.name)
    key = f"{split.digest} {split.stamp(range(len(split)))} {channels} {rotate}"
    file = split.cache / f"pixels-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npy"
    with locked(split.cache):
        with contextlib.suppress(OSError, ValueError, EOFError):
            pixels = numpy.load(file, mmap_mode="c", allow_pickle=False)  # writes to it stay in this process
            if pixels.dtype == numpy.uint8 and pixels.shape[:2] == (len(split), channels):
                return pixels, {}
        try:
            pixels, reasons = decode_all(split.blobs, channels, rotate, split.name)
        except DataError:  # perhaps an image outside the sample was replaced: the next start measures all again
            drop_cached_statistics(split)
            raise
        if not reasons:
            with contextlib.suppress(OSError):
                for old in split.cache.glob("pixels-*"):
                    old.unlink()
            store(file, lambda opened: numpy.save(opened, pixels))
    return pixels, reasons


def decode_all(blobs: Blobs, channels: int, rotate: bool, name: str) -> tuple[numpy.ndarray, dict[int, str]]:
    """All images of one size: (N, channels, H, W) uint8, and the reasons of unreadable ones, which are black.

    Args:
        name: of the split, in messages.

    Raises:
        DataError: no image can be read, or one has another size than the first.
    """
    pixels, reasons = None, dict[int, str]()
    announce(f"decoding the {len(blobs):,} images of {name} once", len(blobs))
    decoded = parallel_map(partial(_decode, blobs, channels, rotate), range(len(blobs)), chunk=500)
    for image, result in enumerate(decoded):
        if isinstance(result, str):
            reasons[image] = result
            continue
        if pixels is None:
            pixels = numpy.zeros((len(blobs), *result.shape), numpy.uint8)
        if pixels.shape[1:] != result.shape:
            raise DataError(
                f"{blobs.name(image)} is {result.shape[2]}x{result.shape[1]} and others are {pixels.shape[3]}x"
                f"{pixels.shape[2]}.\nImages of several sizes have no datamodule.resolution: run the same command "
                "without it."
            )
        pixels[image] = result
    if pixels is None:
        raise DataError(f"No image of {name} can be read, for example {blobs.name(0)} ({reasons[0]}).")
    return pixels, reasons


def _decode(blobs: Blobs, channels: int, rotate: bool, image: int) -> numpy.ndarray | str:
    """(channels, H, W), or why it cannot be read."""
    try:
        return open_image(blobs.read(image), channels, rotate).whole().transpose(2, 0, 1)
    except (ImageError, OSError) as error:
        return reason(error)
