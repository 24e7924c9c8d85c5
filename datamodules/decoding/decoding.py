"""The bytes of an encoded image to pixels: JPEG by libjpeg-turbo, everything else by Pillow.

Both give the same pixels of the same JPEG. A box at a size (Encoded.cut) need not decode what it does not see.
"""

from __future__ import annotations

import io
import math
import warnings
from abc import ABC, abstractmethod
from typing import Protocol

import numpy
import simplejpeg
from PIL import Image, ImageOps

from lineage.datamodules.decoding.resampling import Box, resize_and_crop_by_pillow, resize_box, to_pixels

MOST_PIXELS = 178_956_970  # of an image: where Pillow suspects a decompression bomb
ORIENTATION = 0x0112  # the EXIF tag
LEFT_OUT = "extraneous bytes before marker"  # libjpeg's words
EXIF_TAGS = (b"eXIf", b"EXIF", b"Exif", b"exif")  # as the formats begin it
REST = {"bilinear": 2, "bicubic": 2, "area": 1}  # how much larger than needed an image is left by JPEG's own scaling


class CropResize(Protocol):
    """What is wanted of an image, as recipes/augment/host.py says it.

    box: top, left, height, width in pixels; size: height and width of the result; interpolation: a key of
    resampling.PIL_FILTERS; beyond: whether the filter sees pixels beyond the box. resize_to: None; or the size of the
    resized image whose central `size` is wanted, as Pillow makes it.
    """

    @property
    def box(self) -> Box: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def interpolation(self) -> str: ...
    @property
    def beyond(self) -> bool: ...
    @property
    def resize_to(self) -> tuple[int, int] | None: ...


class ImageError(Exception):
    """Why these bytes cannot be read as an image, in a line."""


def open_image(data: bytes, channels: int, turn: bool = True) -> Encoded:
    """Read the header.

    Args:
        channels: of the pixels: 1, grey, or 3, red, green and blue.
        turn: whether to follow the orientation that a camera has written beside the picture (EXIF).

    Raises:
        ImageError: it is no image, or too large.
    """
    if not data:
        raise ImageError("the file is empty")
    if data[:3] == b"\xff\xd8\xff" and data.find(b"\xff\xd9", -1024) != -1:  # with an end: not cut short
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError:
            pass  # Pillow says what is wrong, or can read it
        else:
            if colours == "Gray" or (colours in ("YCbCr", "RGB") and channels == 3):
                return Jpeg(data, channels, (height, width), _orientation(data) if turn else 1)
    return Picture(data, channels, turn)


class Encoded(ABC):
    """An image whose header is read.

    Attributes:
        size: height and width as it is shown, turned.
    """

    size: tuple[int, int]
    channels: int

    def _check_size(self) -> None:
        height, width = self.size
        if height * width > MOST_PIXELS:
            most = MOST_PIXELS / 1e6
            raise ImageError(f"{height * width / 1e6:,.0f} megapixels are more than the {most:.0f} allowed")

    @abstractmethod
    def whole(self) -> numpy.ndarray:
        """All of it: (H, W, channels) uint8. Raises ImageError."""

    @abstractmethod
    def resize_box(self, box: Box, size: tuple[int, int], interpolation: str, beyond: bool) -> numpy.ndarray:
        """A box of it at a size: (*size, channels) uint8, fast; see resampling.resize_box. Raises ImageError."""

    def crop_resize(self, cut: CropResize) -> numpy.ndarray:
        """What is wanted: (*size, channels) uint8. Raises ImageError."""
        if cut.resize_to is None:
            return self.resize_box(cut.box, cut.size, cut.interpolation, cut.beyond)
        if math.prod(cut.resize_to) > MOST_PIXELS:  # a strip of a pixel's width, enlarged
            raise ImageError(f"brought to the size of a test it has {math.prod(cut.resize_to) / 1e6:,.0f} megapixels")
        return resize_and_crop_by_pillow(self.whole(), cut.resize_to, cut.size, cut.interpolation)


class Jpeg(Encoded):
    """A JPEG file, grey or in colour."""

    def __init__(self, data: bytes, channels: int, stored: tuple[int, int], orientation: int) -> None:
        self.data, self.channels, self.stored, self.orientation = data, channels, stored, orientation
        self.size = stored[::-1] if orientation >= 5 else stored
        self._check_size()

    def whole(self) -> numpy.ndarray:
        try:
            return self._decode(self.data, self.stored[0])
        except ValueError:
            return self._judged()

    def resize_box(self, box: Box, size: tuple[int, int], interpolation: str, beyond: bool) -> numpy.ndarray:
        shrink = min(box[2] / size[0], box[3] / size[1]) / REST[interpolation]
        factor = next((n for n in (8, 4, 2) if shrink >= n), 1)
        try:
            if factor > 1:
                small = tuple(length / factor for length in box)
                shrunk = self._decode(self.data, self.stored[0], factor)
                return resize_box(shrunk, small, size, interpolation, beyond=True)  # type: ignore[arg-type]
            bottom = self.stored[0] if beyond or self.orientation != 1 else round(box[0] + box[2])
            pixels = self._decode(*_without_rows(self.data, self.stored[0], bottom), fast=interpolation == "area")
        except ValueError:
            pixels = self._judged()
        return resize_box(pixels, box, size, interpolation, beyond)

    def _decode(self, data: bytes, rows: int, factor: int = 1, fast: bool = False) -> numpy.ndarray:
        """Raises ValueError: libjpeg warns, or cannot read on."""
        height, width = -(-rows // factor), -(-self.stored[1] // factor)
        pixels = numpy.empty((height, width, self.channels), numpy.uint8)
        try:
            simplejpeg.decode_jpeg(
                data,
                "GRAY" if self.channels == 1 else "RGB",
                fastdct=fast,
                fastupsample=fast,
                min_height=height if factor > 1 else 0,
                min_width=width if factor > 1 else 0,
                buffer=pixels,
            )
        except ValueError as error:
            # Rows that were left out are bytes too many; of several faults the first is told.
            if data is self.data or LEFT_OUT not in str(error):
                raise
        return _turned(pixels, self.orientation)

    def _judged(self) -> numpy.ndarray:
        """What Pillow makes of it: it takes much of what libjpeg warns of, but no picture that ends too early."""
        return Picture(self.data, self.channels, turn=self.orientation != 1).whole()


class Decoded(Encoded):
    """Pixels, (H, W, C) uint8, as they are."""

    def __init__(self, pixels: numpy.ndarray) -> None:
        self.pixels, self.size, self.channels = pixels, (pixels.shape[0], pixels.shape[1]), pixels.shape[2]

    def whole(self) -> numpy.ndarray:
        return self.pixels

    def resize_box(self, box: Box, size: tuple[int, int], interpolation: str, beyond: bool) -> numpy.ndarray:
        return resize_box(self.whole(), box, size, interpolation, beyond)


class Picture(Decoded):
    """Any other file that Pillow reads; of several frames the first."""

    def __init__(self, data: bytes, channels: int, turn: bool) -> None:
        self.channels, self.turn = channels, turn
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.image = Image.open(io.BytesIO(data))
                # Pillow turns TIFF by itself; to look for EXIF in a PNG it decodes it.
                turns = turn and self.image.format != "TIFF" and any(tag in data for tag in EXIF_TAGS)
                turned = turns and self.image.getexif().get(ORIENTATION, 1) >= 5
        except Exception as error:
            raise ImageError(_reason(error)) from None
        self.size = self.image.size if turned else self.image.size[::-1]
        self._check_size()

    def whole(self) -> numpy.ndarray:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = ImageOps.exif_transpose(self.image) if self.turn else self.image
                return to_pixels(_of_eight_bits(image).convert("L" if self.channels == 1 else "RGB"))
        except Exception as error:  # Pillow's readers let through whatever their input provokes
            raise ImageError(_reason(error)) from None


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """16 bits become 8, what is transparent lies on white."""
    if image.mode.startswith("I"):
        levels = numpy.asarray(image).astype(numpy.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError("its levels are not those of 8 or 16 bits")
        return Image.fromarray(((levels + 128) // 257).astype(numpy.uint8))
    if image.mode == "F":
        raise ValueError("its levels are floating-point numbers")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image, or of a kind that Pillow does not know"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _without_rows(data: bytes, height: int, bottom: int) -> tuple[bytes, int]:
    """The file of a picture that ends soon below row `bottom`, so that a decoder stops there, and its height.

    Of a baseline JPEG the height in the header says how many rows of blocks are decoded; a row of blocks more than
    needed leaves the interpolation of colours what it was.
    """
    place, wanted = 2, (bottom // 16 + 2) * 16
    while place + 9 < len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xC0 and wanted + 16 <= height:
            return data[: place + 5] + wanted.to_bytes(2, "big") + data[place + 7 :], wanted
        if marker in (0xC0, 0xC1, 0xC2, 0xDA):  # nothing to leave out, or of another kind
            break
        place += 2 + length
    return data, height


def _orientation(data: bytes) -> int:
    """1 to 8, as EXIF counts; 1 where nothing is said."""
    start = data.find(b"Exif\0\0", 0, 1 << 16)
    if start == -1:
        return 1
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif.load(data[start : start + (1 << 16)])
            found = exif.get(ORIENTATION, 1)
    except Exception:  # damaged; the picture is not
        return 1
    return found if found in range(1, 9) else 1


def _turned(pixels: numpy.ndarray, orientation: int) -> numpy.ndarray:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
