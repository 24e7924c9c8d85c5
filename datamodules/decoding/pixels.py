"""All images of a split as one array, if they have one size. No torch."""

from functools import partial

import numpy

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import announce, parallel_map
from lineage.datamodules.split import Blobs
from lineage.files import reason


def decode_all(blobs: Blobs, channels: int, rotate: bool, name: str) -> tuple[numpy.ndarray, dict[int, str]]:
    """All images of one size: (N, channels, H, W) uint8, and the reasons of unreadable ones, which are black. name: of
    the split, in messages. Raises DataError: no image can be read, or one has another size than the first."""
    pixels, reasons = None, dict[int, str]()
    announce(f"decoding the {len(blobs):,} images of {name}", len(blobs))
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
