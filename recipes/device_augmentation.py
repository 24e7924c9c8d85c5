"""The part of a recipe's augmentation that runs on the device, a micro-batch at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipes import geometry
from recipes.randomness import normal, uniform
from recipes.recipe import Recipe

# Eigenvalues and eigenvectors (columns) of the colours of ImageNet's training pixels in [0, 1], as published with
# fb.resnet.torch; Krizhevsky et al. 2012, section 4.1.
EIGENVALUES = [0.2175, 0.0188, 0.0045]
EIGENVECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]


class Normalise(nn.Module):
    """(B, C, H, W) uint8 -> float32, minus mean, over deviation, per channel of pixels in [0, 1]; for evaluation."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images.float() / 255).sub_(self.mean).div_(self.std)


class DeviceAugmentation(nn.Module):
    """(B, C, H, W) uint8 and origin -> (B, C, H, W) float32: crop and flip, lighting, normalisation, erasing.

    A function of (images, origin). Its constants are buffers, which move to the device with the module.

    Args:
        seed: of the run.
        hflip: probability of a mirrored image.
        crop_here: whether crop and flip are still to be done; false where workers have done them.
    """

    fill: Tensor
    colours: Tensor

    def __init__(
        self, recipe: Recipe, *, seed: int, hflip: float, mean: Sequence[float], std: Sequence[float], crop_here: bool
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.recipe, self.seed, self.hflip, self.crop_here = recipe, seed, hflip, crop_here
        self.lighting = recipe.pca_lighting if len(mean) == 3 else 0.0  # three colours have principal components
        self.register_buffer("fill", geometry.fill_colour(mean), persistent=False)
        components = torch.tensor(EIGENVALUES) * torch.tensor(EIGENVECTORS)  # a component a column
        self.register_buffer("colours", components, persistent=False)

    def forward(self, images: Tensor, origin: Tensor) -> Tensor:
        if self.crop_here:
            images = geometry.crop_and_flip(self.recipe, self.seed, self.hflip, self.fill, images, origin)
        pixels = images.float() / 255
        if self.lighting:
            alpha = normal(self.seed, "lighting", origin, 3) * self.lighting
            pixels += (alpha @ self.colours.T)[:, :, None, None]
        pixels.sub_(self.normalise.mean).div_(self.normalise.std)
        if self.recipe.erasing_prob:
            pixels = erase(pixels, self.recipe.erasing_prob, self.seed, origin)
        return pixels


def erase(pixels: Tensor, probability: float, seed: int, origin: Tensor) -> Tensor:
    """Random erasing (Zhong et al. 2017, arXiv 1708.04896), as in timm's "pixel" mode: one box of normal noise.

    The box has an area share in [0.02, 1/3] and a ratio in [0.3, 1/0.3]; the first of ten that fits.
    """
    batch, channels, height, width = pixels.shape
    tries = 10
    u = uniform(seed, "erasing", origin, 1 + 4 * tries)
    area, ratio, y, x = u[:, 1:].view(batch, 4, tries).unbind(1)
    area = height * width * (0.02 + (1 / 3 - 0.02) * area)
    ratio = torch.exp(math.log(0.3) * (1 - 2 * ratio))
    h, w = torch.round(torch.sqrt(area * ratio)), torch.round(torch.sqrt(area / ratio))
    fits = (h < height) & (w < width)
    first = torch.argmax(fits.int(), dim=1, keepdim=True)
    h, w, y, x = (value.gather(1, first) for value in (h, w, y, x))
    top, left = torch.floor(y * (height - h + 1)), torch.floor(x * (width - w + 1))
    rows, columns = (torch.arange(n, device=pixels.device)[None] for n in (height, width))
    inside = ((rows >= top) & (rows < top + h))[:, :, None] & ((columns >= left) & (columns < left + w))[:, None]
    chosen = (u[:, 0] < probability) & fits.any(dim=1)
    noise = normal(seed, "erasing noise", origin, channels * height * width).view_as(pixels)
    return torch.where((inside & chosen[:, None, None])[:, None], noise, pixels)
