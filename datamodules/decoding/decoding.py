"""Decoding: JPEG by libjpeg-turbo, other formats by Pillow. Both return the same pixels of the same JPEG.

Where only a box of an image is needed (Encoded.resize_box), the rest of the image is not decoded if possible.
"""

from __future__ import annotations

import io
import math
import warnings
from abc import ABC, abstractmethod

import numpy
import simplejpeg
from PIL import Image, ImageOps

from lineage.datamodules.decoding.resampling import Box, resize_and_crop_by_pillow, resize_box
from lineage.files import reason
from lineage.pillow import CropResize, to_picture, to_pixels

MAX_PIXELS = 178_956_970  # of an image: above it Pillow suspects a decompression bomb
ORIENTATION = 0x0112  # the EXIF tag
MISSING_ROWS = "extraneous bytes before marker"  # libjpeg's warning when a header states fewer rows than the file has
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # no other: Pillow starts Ghostscript to read an EPS
EXIF_MARKERS = (b"eXIf", b"EXIF", b"Exif", b"exif")  # where EXIF begins, in the different formats
OVERSIZE = {"bilinear": 2, "bicubic": 2, "area": 1}  # JPEG's own scaling leaves at least so many times the final size


class ImageError(Exception):
    """Why these bytes cannot be read as an image, in a line."""


def open_image(data: bytes, channels: int, rotate: bool = True) -> Encoded:
    """Read the header. Raises ImageError: it is not an image, or too large.

    Args:
        channels: of the pixels: 1, grey, or 3, red, green and blue.
        rotate: whether to rotate the picture as its EXIF orientation says.
    """
    if not data:
        raise ImageError("the file is empty")
    if data[:3] == b"\xff\xd8\xff" and data.find(b"\xff\xd9", -1024) != -1:  # the end marker: the file is not truncated
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError:
            pass  # Pillow may read it, or says what is wrong
        else:
            if colours == "Gray" or (colours in ("YCbCr", "RGB") and channels == 3):
                return Jpeg(data, channels, (height, width), _orientation(data) if rotate else 1)
    return Picture(data, channels, rotate)


class Encoded(ABC):
    """An image whose header is read.

    Attributes:
        size: height and width, after rotation.
        kind: Pillow's name of the format.
    """

    kind = "JPEG"
    size: tuple[int, int]
    channels: int

    def _check_size(self) -> None:
        height, width = self.size
        if height * width > MAX_PIXELS:
            raise ImageError(f"{height * width / 1e6:,.0f} megapixels are more than the {MAX_PIXELS / 1e6:.0f} allowed")

    @abstractmethod
    def whole(self) -> numpy.ndarray:
        """The whole image: (H, W, channels) uint8. Raises ImageError."""

    def picture(self) -> Image.Image:
        """The whole image, grey or RGB, as Pillow's. Raises ImageError."""
        return to_picture(self.whole())

    def resize_box(self, box: Box, size: tuple[int, int], interpolation: str, beyond: bool) -> numpy.ndarray:
        """A box at a size, fast: (*size, channels) uint8; see resampling.resize_box. Raises ImageError."""
        return resize_box(self.whole(), box, size, interpolation, beyond)

    def crop_resize(self, crop: CropResize) -> numpy.ndarray:
        """The box that a recipe chose: (*size, channels) uint8. Raises ImageError."""
        if crop.resize_to is None:
            return self.resize_box(crop.box, crop.size, crop.interpolation, crop.beyond)
        if math.prod(crop.resize_to) > MAX_PIXELS:  # of an image one pixel wide, for example
            megapixels = math.prod(crop.resize_to) / 1e6
            raise ImageError(f"resized for evaluation it has {megapixels:,.0f} megapixels")
        return resize_and_crop_by_pillow(self.picture(), crop.resize_to, crop.size, crop.interpolation)


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
            return self._by_pillow()

    def resize_box(self, box: Box, size: tuple[int, int], interpolation: str, beyond: bool) -> numpy.ndarray:
        shrink = min(box[2] / size[0], box[3] / size[1]) / OVERSIZE[interpolation]
        factor = next((n for n in (8, 4, 2) if shrink >= n), 1)
        try:
            if factor > 1:
                small = tuple(length / factor for length in box)
                shrunk = self._decode(self.data, self.stored[0], factor)
                return resize_box(shrunk, small, size, interpolation, beyond=True)  # type: ignore[arg-type]
            bottom = self.stored[0] if beyond or self.orientation != 1 else round(box[0] + box[2])
            pixels = self._decode(*_crop_rows(self.data, self.stored[0], bottom), fast=interpolation == "area")
        except ValueError:
            pixels = self._by_pillow()
        return resize_box(pixels, box, size, interpolation, beyond)

    def _decode(self, data: bytes, rows: int, factor: int = 1, fast: bool = False) -> numpy.ndarray:
        """Raises ValueError: libjpeg warns or fails."""
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
            if data is self.data or MISSING_ROWS not in str(error):
                raise
        return _rotate(pixels, self.orientation)

    def _by_pillow(self) -> numpy.ndarray:
        """Pillow's pixels: it reads many files that libjpeg warns about, but no truncated ones."""
        return Picture(self.data, self.channels, rotate=self.orientation != 1).whole()


class Decoded(Encoded):
    """Pixels, (H, W, C) uint8."""

    def __init__(self, pixels: numpy.ndarray) -> None:
        self.pixels, self.size, self.channels = pixels, (pixels.shape[0], pixels.shape[1]), pixels.shape[2]

    def whole(self) -> numpy.ndarray:
        return self.pixels


class Picture(Encoded):
    """A file of another format that Pillow reads. Of several frames it is the first."""

    def __init__(self, data: bytes, channels: int, rotate: bool) -> None:
        self.channels, self.rotate = channels, rotate
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.image = Image.open(io.BytesIO(data), formats=FORMATS)
                # Pillow rotates TIFF by itself. getexif decodes a PNG, so the bytes are searched first.
                has_exif = rotate and self.image.format != "TIFF" and any(marker in data for marker in EXIF_MARKERS)
                sideways = has_exif and self.image.getexif().get(ORIENTATION, 1) >= 5
        except Exception as error:
            raise ImageError(_reason(error)) from None
        self.kind = str(self.image.format)
        self.size = self.image.size if sideways else self.image.size[::-1]
        self._check_size()

    def whole(self) -> numpy.ndarray:
        return to_pixels(self.picture())

    def picture(self) -> Image.Image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = ImageOps.exif_transpose(self.image) if self.rotate else self.image
                return _to_eight_bits(image).convert("L" if self.channels == 1 else "RGB")
        except Exception as error:  # Pillow's readers raise whatever their input provokes
            raise ImageError(_reason(error)) from None


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """16 bits become 8, and transparent pixels white."""
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
        return "it is not an image, or of a format that is not read"
    return reason(error)


def _crop_rows(data: bytes, height: int, bottom: int) -> tuple[bytes, int]:
    """A file whose header ends the picture soon below row `bottom`, so that a decoder stops there, and its height.

    In a baseline JPEG the height in the header says how many rows of blocks are decoded. One row of blocks more than
    needed keeps the interpolation of colours the same.
    """
    position, rows = 2, (bottom // 16 + 2) * 16
    while position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xC0 and rows + 16 <= height:
            return data[: position + 5] + rows.to_bytes(2, "big") + data[position + 7 :], rows
        if marker in (0xC0, 0xC1, 0xC2, 0xDA):  # no row can be left out, or it is not a baseline JPEG
            break
        position += 2 + length
    return data, height


def _orientation(data: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1 if there is none."""
    start = data.find(b"Exif\0\0", 0, 1 << 16)
    if start == -1:
        return 1
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif.load(data[start : start + (1 << 16)])
            orientation = exif.get(ORIENTATION, 1)
    except Exception:  # EXIF is damaged, and the picture is not
        return 1
    return orientation if orientation in range(1, 9) else 1


def _rotate(pixels: numpy.ndarray, orientation: int) -> numpy.ndarray:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
