"""Random boxes (B, 4) of top, left, height, width, as pure functions of uniform draws and sizes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

TRIES = 10  # of area and aspect ratio, of which the first box that fits is used


def double(numbers: Tensor) -> Tensor:
    """float64, so that all devices round to the same pixels; float32 on Apple's GPUs, which have no float64."""
    return numbers.to(torch.float32 if numbers.device.type == "mps" else torch.float64)


def random_resized_crop(draws: Tensor, height: Tensor, width: Tensor, scale: Sequence[float], ratio: Sequence[float]):
    """Szegedy et al. 2014 (arXiv 1409.4842) as in torchvision and timm: the first box that fits, else a central one.

    Args:
        draws: (B, 40) in [0, 1), ten each for area, ratio, top and left.
        height, width: (B,), of the images.
        scale: range of the box's area as a share of the image's.
        ratio: range of its width / height, uniform in the logarithm.

    Returns:
        (B, 4) float64, whole pixels.
    """
    area, shape, y, x = double(draws).view(-1, 4, TRIES).unbind(1)
    height, width = double(height)[:, None], double(width)[:, None]
    w, h = _sides(height * width, area, shape, scale, ratio)
    fits = (w <= width) & (h <= height) & (torch.minimum(w, h) > 0)
    boxes = _first_that_fits(fits, h, w, y, x, height, width)

    central_w = torch.minimum(width, torch.round(height * ratio[1]))  # at the nearest allowed ratio
    central_h = torch.minimum(height, torch.round(width / ratio[0]))
    top, left = torch.floor((height - central_h) / 2), torch.floor((width - central_w) / 2)
    return torch.where(fits.any(1, keepdim=True), boxes, torch.cat((top, left, central_h, central_w), dim=1))


def scale_jitter(draws: Tensor, height: Tensor, width: Tensor, scale: Sequence[float], size: int) -> Tensor:
    """He et al. 2015 (arXiv 1512.03385, section 3.4), as in fb.resnet.torch: resize, then a random crop of `size`.

    The short side becomes an integer in [low, high]; the long side is rounded down. The box in the original image has
    fractional coordinates, and the resize must read pixels outside it, as it would when the whole image is resized.

    Args:
        draws: (B, 3) in [0, 1): short side, top, left.
        scale: low and high, at least `size`.
    """
    short, y, x = double(draws).unbind(1)
    height, width, (low, high) = double(height), double(width), scale
    short = int(low) + torch.floor(short * (int(high) - int(low) + 1))
    least = torch.minimum(height, width)
    new_height, new_width = torch.floor(short * height / least), torch.floor(short * width / least)
    top, left = torch.floor(y * (new_height - size + 1)), torch.floor(x * (new_width - size + 1))
    down, across = height / new_height, width / new_width  # original pixels per resized pixel
    return torch.stack((top * down, left * across, size * down, size * across), dim=1)


def random_erasing(draws: Tensor, height: int, width: int, scale: Sequence[float], ratio: Sequence[float]) -> Tensor:
    """Zhong et al. 2017 (arXiv 1708.04896) as in torchvision and timm: the first box that fits, else an empty one.

    The arguments are those of random_resized_crop, but `ratio` is of height / width.
    """
    area, shape, y, x = double(draws).view(-1, 4, TRIES).unbind(1)
    h, w = _sides(height * width, area, shape, scale, ratio)
    fits = (w < width) & (h < height)
    return _first_that_fits(fits, h, w, y, x, height, width) * fits.any(1, keepdim=True)


def cutout(draws: Tensor, height: int, width: int, side: int) -> Tensor:
    """Cutout (DeVries and Taylor 2017, arXiv 1708.04552): a square around any pixel, clipped at the image's border."""
    y, x = double(draws).unbind(1)
    top, left = torch.floor(y * height) - side // 2, torch.floor(x * width) - side // 2
    bottom, right = (top + side).clamp(max=height), (left + side).clamp(max=width)
    top, left = top.clamp(min=0), left.clamp(min=0)
    return torch.stack((top, left, bottom - top, right - left), dim=1)


def central_crop(sizes: Tensor, short: int, side: int) -> Tensor:
    """The box that a resize of the short side to `short` turns into the central square of `side` pixels.

    Args:
        sizes: (B, 2) of height and width.

    Returns:
        (B, 4) float64; the square's corner is rounded to a pixel of the resized image, as in torchvision.
    """
    sizes = double(sizes)
    resized = torch.floor(short * sizes / sizes.amin(dim=1, keepdim=True))
    corner, scale = torch.round((resized - side) / 2), sizes / resized
    return torch.cat((corner * scale, side * scale), dim=1)


def resized_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height after a resize of the short side; the long side is rounded down, as in torchvision."""
    least = min(width, height)
    return int(short * width / least), int(short * height / least)


def _sides(area, share: Tensor, shape: Tensor, scale: Sequence[float], ratio: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The sides of all tries: the numerator of `ratio`, then its denominator."""
    (low, high), (narrow, wide) = scale, (math.log(side) for side in ratio)
    target = area * (low + (high - low) * share)
    shape = torch.exp(narrow + (wide - narrow) * shape)
    return torch.round(torch.sqrt(target * shape)), torch.round(torch.sqrt(target / shape))


def _first_that_fits(fits: Tensor, h: Tensor, w: Tensor, y: Tensor, x: Tensor, height, width) -> Tensor:
    """The box (B, 4) of the first of the tries (B, n) that fits; y and x in [0, 1) choose its position."""
    first = torch.argmax(fits.int(), dim=1, keepdim=True)
    h, w, y, x = torch.stack((h, w, y, x)).gather(2, first.expand(4, -1, -1))  # (B, 1) each
    return torch.cat((torch.floor(y * (height - h + 1)), torch.floor(x * (width - w + 1)), h, w), dim=1)
