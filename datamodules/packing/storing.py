"""An image as it is packed (datamodules/packing/writing.py): its file's bytes, or a smaller picture.

With max_size the short side of larger images becomes that size. Pillow's Lanczos is antialiased and the sharpest, which
matters since training resizes once more. JPEG with colours at half the resolution (4:2:0) is what cameras write, and
the quickest to decode. A small JPEG file keeps its bytes. All images are decoded once, so what is packed can be read.
"""

import io
from typing import NamedTuple

import numpy
from PIL import Image

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.images import Fault
from lineage.files import reason
from lineage.pillow import to_picture

ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}  # by Pillow's name of the format, where the two differ


class Settings(NamedTuple):
    """How images are packed.

    max_size: pixels of the short side, at most; None: files keep their bytes. quality: of JPEG; None: lossless, as PNG.
    seed: of the order of the images.
    """

    max_size: int | None
    quality: int | None
    images_per_shard: int
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
    stored: list[Stored | Fault] = []
    for sample in samples.tolist():
        try:
            data = images.read(sample)
            file, ending, size = encode(data, images.channels, images.rotate, settings)
            stored.append(Stored(file, ending, size, int(images.labels[sample]), len(data)))
        except (OSError, ImageError) as error:
            stored.append(Fault(sample, images.name(sample), reason(error)))
    return stored


def encode(data: bytes, channels: int, turn: bool, settings: Settings) -> tuple[bytes, str, tuple[int, int]]:
    """The bytes that are packed of a file, their ending, and height and width. Raises ImageError."""
    opened = open_image(data, channels, turn)
    pixels = opened.whole()  # all of it, so that a fault is found now
    ending = ENDINGS.get(opened.kind, opened.kind.lower())
    shrink = settings.max_size / min(opened.size) if settings.max_size else 1.0
    if settings.max_size is None or (shrink >= 1 and (settings.quality is None or ending == "jpg")):
        return data, ending, opened.size
    picture = to_picture(numpy.ascontiguousarray(pixels))
    if shrink < 1:
        size = round(picture.width * shrink), round(picture.height * shrink)
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    if settings.quality is None:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=settings.quality, subsampling="4:2:0")
    return file.getvalue(), "png" if settings.quality is None else "jpg", picture.size[::-1]
