"""The part of a recipe's augmentation that runs on the device, a micro-batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lineage.recipes.augment.erasing import erase, erasing_draws
from lineage.recipes.augment.geometry import crop_and_flip, crop_and_flip_draws, fill_colour, flip_mask, output_size
from lineage.recipes.augment.randomness import ImageDraws, normal, normal_quantiles
from lineage.recipes.recipe import Recipe

# Eigenvalues and eigenvectors (columns) of the colours of ImageNet's training pixels in [0, 1], as published with
# fb.resnet.torch; Krizhevsky et al. 2012, section 4.1.
EIGENVALUES = [0.2175, 0.0188, 0.0045]
EIGENVECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]


class Normalise(nn.Module):
    """(B, C, H, W) uint8 -> float32, minus mean, over deviation, per channel of pixels in [0, 1]; for evaluation."""

    white: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # A tensor: by a number CUDA does not divide but multiplies with its reciprocal, and so rounds another way.
        self.register_buffer("white", torch.tensor(255.0), persistent=False)
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images / self.white).sub_(self.mean).div_(self.std)


class DeviceAugmentation(nn.Module):
    """(B, C, H, W) uint8 and sample keys -> float32: crop and flip, lighting, normalisation, erasing and cutout.

    A function of (images, sample keys). Its constants are buffers, which move to the device with the module.

    Args:
        seed: of the run.
        hflip: probability of a flip_mask image.
        crop_here: whether crop and flip are still to be done; false where workers have done them.
    """

    fill: Tensor
    colours: Tensor
    quantiles: Tensor

    def __init__(
        self, recipe: Recipe, *, seed: int, hflip: float, mean: Sequence[float], std: Sequence[float], crop_here: bool
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.recipe, self.hflip, self.crop_here = recipe, hflip, crop_here
        self.lighting = recipe.pca_lighting if len(mean) == 3 else 0.0  # three colours have principal components
        here = {**({"lighting": 3} if self.lighting else {}), **erasing_draws(recipe)}
        self.draw = crop_and_flip_draws(recipe, seed, hflip, **here) if crop_here else ImageDraws(seed, here)
        self.register_buffer("fill", fill_colour(mean), persistent=False)
        components = torch.tensor(EIGENVALUES) * torch.tensor(EIGENVECTORS)  # a component a column
        self.register_buffer("colours", components, persistent=False)
        needs_normal = self.lighting or "noise" in self.draw.counts
        self.register_buffer("quantiles", normal_quantiles() if needs_normal else torch.zeros(0), persistent=False)

    def forward(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        draws = self.draw(sample_keys)
        if self.crop_here:
            mirror = flip_mask(self.recipe, self.hflip, draws, sample_keys[:, 0])
            # To know the epoch the host waits for a device.
            epoch = int(sample_keys[0, 0]) if self.recipe.progressive_res else 0
            size = output_size(self.recipe, (images.shape[2], images.shape[3]), epoch)
            images = crop_and_flip(self.recipe, draws, images, self.fill, mirror, size)
        pixels = images / self.normalise.white
        if self.lighting:
            alpha = normal(self.quantiles, draws["lighting"]) * self.lighting
            first, second, third = (
                alpha[:, i : i + 1] * self.colours[:, i] for i in range(3)
            )  # (B, 3), a component each
            colour = first + second + third  # in this order on every device, as a product of matrices is not
            pixels += colour[:, :, None, None]
        pixels.sub_(self.normalise.mean).div_(self.normalise.std)
        return erase(self.recipe, draws, pixels, self.quantiles)
