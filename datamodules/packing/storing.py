"""An image as it is packed (datamodules/packing/writing.py): its file's bytes, or a smaller picture.

Where a size is asked for, the short side of larger images becomes that size: by Pillow's Lanczos, antialiased, and the
sharpest, since training resizes once more; as JPEG with colours at half the resolution (4:2:0), as cameras write it and
the quickest to decode. A small JPEG file keeps its bytes. All are decoded, so that what is packed can be read.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy
from PIL import Image

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.decoding.resampling import to_picture
from lineage.datamodules.images import Fault
from lineage.datamodules.packing.inspection import fault_of, header


class Settings(NamedTuple):
    """How images are packed.

    max_size: pixels of the short side, at most; None: files as they are. quality: of JPEG; None: lossless, as PNG.
    shard_size: megabytes, at most, unless one image is larger. seed: of the order in the shards.
    """

    max_size: int | None
    quality: int | None
    shard_size: int
    seed: int


class Stored(NamedTuple):
    """An image as it is packed.

    data, ending: the file and its usual ending. size: height and width. before: bytes of the file it was made of.
    """

    data: bytes
    ending: str
    size: tuple[int, int]
    label: int
    before: int


def store(images: EncodedImages, settings: Settings, samples: numpy.ndarray) -> list[Stored | Fault]:
    """Images as they are packed, or why they cannot be read."""
    return [_store_one(images, settings, sample) for sample in samples.tolist()]


def _store_one(images: EncodedImages, settings: Settings, sample: int) -> Stored | Fault:
    try:
        data = images.blobs.read(images.index(sample))
        file, ending, size = stored_as(data, images.channels, images.turn, settings)
    except (OSError, ImageError) as error:
        return fault_of(images, sample, error)
    return Stored(file, ending, size, int(images.labels[sample]), len(data))


def stored_as(data: bytes, channels: int, turn: bool, settings: Settings) -> tuple[bytes, str, tuple[int, int]]:
    """The bytes that are packed of a file, their ending, and height and width. Raises ImageError."""
    opened = open_image(data, channels, turn)
    pixels = opened.whole()  # all of it, so that a fault is found now
    ending, odd = header(data)
    shrink = settings.max_size / min(opened.size) if settings.max_size else 1.0
    upright = not (turn and "EXIF-rotated" in odd)
    as_it_is = settings.quality is None or (ending == "jpg" and "CMYK" not in odd)
    if settings.max_size is None or (shrink >= 1 and upright and as_it_is):
        return data, ending, opened.size
    picture = to_picture(numpy.ascontiguousarray(pixels))
    if shrink < 1:
        size = tuple(round(side * shrink) for side in picture.size)
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # type: ignore[arg-type]
    file = io.BytesIO()
    if settings.quality is None:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=settings.quality, subsampling="4:2:0")
    return file.getvalue(), "png" if settings.quality is None else "jpg", picture.size[::-1]
