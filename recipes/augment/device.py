"""Augmentation on the device, a micro-batch at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lineage.recipes.augment.erasing import erase, erasing_draws
from lineage.recipes.augment.geometry import crop_and_flip, crop_and_flip_draws, fill_colour
from lineage.recipes.augment.randomness import ImageDraws, normal, normal_quantiles
from lineage.recipes.recipe import Recipe

# Eigenvalues and eigenvectors (columns) of the RGB values, in [0, 1], of ImageNet's training pixels (Krizhevsky et al.
# 2012, section 4.1), as published in fb.resnet.torch.
EIGENVALUES = [0.2175, 0.0188, 0.0045]
EIGENVECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]


class Normalise(nn.Module):
    """(B, C, H, W) uint8 -> float32: pixels in [0, 1], minus the channel's mean, over its standard deviation."""

    white: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # A tensor, since CUDA replaces division by a number with multiplication by its rounded reciprocal.
        self.register_buffer("white", torch.tensor(255.0), persistent=False)
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images / self.white).sub_(self.mean).div_(self.std)


class DeviceAugmentation(nn.Module):
    """(B, C, H, W) uint8 and sample keys -> float32: crop, flip, lighting, normalisation, erasing and cutout.

    `crop_here` says whether to crop and flip, or workers have done it.
    """

    fill: Tensor
    components: Tensor
    quantiles: Tensor

    def __init__(
        self, recipe: Recipe, *, seed: int, mean: Sequence[float], std: Sequence[float], crop_here: bool
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.recipe, self.crop_here = recipe, crop_here
        self.lighting = recipe.pca_lighting if len(mean) == 3 else 0.0  # grey images have no principal components
        counts = {"lighting": 3 * bool(self.lighting), **erasing_draws(recipe)}
        self.draw = crop_and_flip_draws(recipe, seed, **counts) if crop_here else ImageDraws(seed, counts)
        self.register_buffer("fill", fill_colour(mean), persistent=False)
        components = torch.tensor(EIGENVALUES) * torch.tensor(EIGENVECTORS)  # (3, 3), one a column
        self.register_buffer("components", components, persistent=False)
        needs_normal = self.lighting or "noise" in self.draw.counts
        self.register_buffer("quantiles", normal_quantiles() if needs_normal else torch.zeros(0), persistent=False)

    def forward(self, images: Tensor, sample_keys: Tensor, epoch: int = 0) -> Tensor:
        """`epoch` is that of the sample keys: reading it from them would make the host wait."""
        draws = self.draw(sample_keys)
        if self.crop_here:
            images = crop_and_flip(self.recipe, draws, images, sample_keys, self.fill, epoch)
        pixels = images / self.normalise.white
        if self.lighting:
            alpha = normal(self.quantiles, draws["lighting"]) * self.lighting
            first, second, third = (alpha[:, i : i + 1] * self.components[:, i] for i in range(3))  # (B, 3) each
            # A matrix product would add them in another order on each device.
            pixels += (first + second + third)[:, :, None, None]
        pixels.sub_(self.normalise.mean).div_(self.normalise.std)
        return erase(self.recipe, draws, pixels, self.quantiles)
