"""The part of a recipe's augmentation that runs on the host, in worker processes: no device state.

In the order of the papers and of timm: crop, flip, per-image operations; normalisation, lighting and erasing follow on
the device (recipes/augment/device.py). Of photographs, which have any size, the recipe says which box it wants at
which size (a CropResize), and
the source reads that. What comes after is the same for them and for images of one size: batch
operations, on the device unless an operation that exists only for a single PIL image (recipes/augment/policies.py)
follows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy
import torch
from PIL import Image
from torch import Tensor

from lineage.recipes.augment import boxes, geometry
from lineage.recipes.augment.policies import PerImage, apply_operation
from lineage.recipes.recipe import Recipe

Size = tuple[int, int]  # height, width


class CropResize(NamedTuple):
    """What is wanted of one photograph.

    box: top, left, height, width; size: of the result; interpolation: the filter; beyond: whether it sees pixels beyond
    the box. resize_to: of a central box, the size of the resized photograph that it is cut out of, for a source that shall
    do just that; None: the box will do.
    """

    box: tuple[float, float, float, float]
    size: Size
    interpolation: str
    beyond: bool
    resize_to: Size | None = None


class HostAugmentation:
    """Crop, flip and per-image operations of images of one size: (B, C, H, W) uint8 and sample keys -> the same.

    Args:
        seed: of the run.
        hflip: probability of a flip_mask image.
        mean: per channel, of pixels in [0, 1]: the colour of what moves in.
    """

    def __init__(self, recipe: Recipe, *, seed: int, hflip: float, mean: Sequence[float], operation: PerImage) -> None:
        self.recipe, self.seed, self.hflip, self.operation = recipe, seed, hflip, operation
        self.fill = geometry.fill_colour(mean)
        self.draw = geometry.crop_and_flip_draws(recipe, seed, hflip)

    def output_size(self, native: Size | None, epoch: int) -> Size:
        assert native is not None
        return geometry.output_size(self.recipe, native, epoch)

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        size = self.output_size((images.shape[2], images.shape[3]), int(sample_keys[0, 0]))
        draws = self.draw(sample_keys)
        batch = geometry.crop_and_flip(self.recipe, draws, images, self.fill, None, size)
        mirror = geometry.flip_mask(self.recipe, self.hflip, draws, sample_keys[:, 0])
        flags = [False] * len(batch) if mirror is None else mirror.tolist()
        return to_batch([self._one(*each) for each in zip(batch, flags, sample_keys.tolist(), strict=True)])

    def _one(self, image: Tensor, mirror: bool, key: list[int]) -> Image.Image:
        picture = to_picture(image)
        if mirror:  # cheaper here than of a batch, half of which stays as it is
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return apply_operation(picture, self.operation, self.seed, key)


class TrainCrop:
    """Photographs as the recipe crops them: rrc and scale_jitter cut their boxes; a crop for images of one size, and
    none, the central square of the short side, brought to train_res (or progressive_res).

    Args:
        then: what follows here; None: nothing, the rest is done on the device.
    """

    def __init__(self, recipe: Recipe, *, seed: int, then: HostAugmentation | None) -> None:
        self.recipe, self.then = recipe, then
        self.draw = geometry.crop_and_flip_draws(recipe, seed, hflip=0)

    def output_size(self, native: Size | None, epoch: int) -> Size:
        return (geometry.train_size(self.recipe, epoch),) * 2

    def crops(self, sample_keys: Tensor, sizes: Tensor) -> list[CropResize]:
        """Of photographs of the given sizes, (B, 2) of height and width."""
        recipe, size = self.recipe, self.output_size(None, int(sample_keys[0, 0]))
        if not geometry.is_box_crop(recipe):
            found = boxes.centre(sizes, size[0], size[0])
        else:
            found = geometry.crop_boxes(recipe, self.draw(sample_keys)["crop"], sizes[:, 0], sizes[:, 1])
        return [CropResize(tuple(box), size, recipe.interpolation, recipe.crop != "rrc") for box in found.tolist()]

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        return images if self.then is None else self.then(images, sample_keys)


def recipe_after_crop(recipe: Recipe) -> Recipe:
    """What is left of a recipe's geometry once photographs are cut."""
    return dataclasses.replace(recipe, crop="none" if geometry.is_box_crop(recipe) else recipe.crop, progressive_res=[])


class EvalCrop:
    """Photographs as an evaluation shows them: short side to test_res / test_crop_ratio, the central test_res of it.

    The short side is rounded down, as in timm: 224 / 0.95 is 235.

    Args:
        exact: whether the pixels shall be Pillow's own.
    """

    def __init__(self, recipe: Recipe, exact: bool = True) -> None:
        self.side, self.exact = recipe.test_res, exact
        self.short = math.floor(recipe.test_res / recipe.test_crop_ratio)
        self.interpolation = recipe.test_interpolation or recipe.interpolation

    def output_size(self, native: Size | None, epoch: int) -> Size:
        return self.side, self.side

    def crops(self, sample_keys: Tensor, sizes: Tensor) -> list[CropResize]:
        found = boxes.centre(sizes, self.short, self.side).tolist()
        wholes = [boxes.short_side_size(width, height, self.short)[::-1] for height, width in sizes.tolist()]
        size, filter_ = (self.side, self.side), self.interpolation
        return [
            CropResize(tuple(box), size, filter_, True, whole if self.exact else None)
            for box, whole in zip(found, wholes, strict=True)
        ]

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        return images


def to_picture(image: Tensor) -> Image.Image:
    """(C, H, W) uint8 of one or three channels to PIL."""
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).contiguous().numpy())


def to_batch(pictures: Sequence[Image.Image]) -> Tensor:
    """PIL images of one size as (B, C, H, W) uint8, of the memory that they have: channels last."""
    arrays = [numpy.asarray(picture) for picture in pictures]
    batch = torch.from_numpy(numpy.stack(arrays))
    return batch[:, None] if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
