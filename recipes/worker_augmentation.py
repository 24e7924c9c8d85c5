"""The part of a recipe's augmentation that runs in worker processes, on the host, image by image: no device state.

In the order of the papers and of timm: crop, flip, per-image operations; normalisation, lighting and erasing follow on
the device (recipes/device_augmentation.py). Crops and flips of images of one size are batch operations, and run on the
device too unless an operation that exists only for a single PIL image (recipes/policies.py) follows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
import torch
from PIL import Image
from torch import Tensor

from recipes import geometry
from recipes.policies import PerImage, apply_to
from recipes.recipe import Recipe, RecipeError
from recipes.resizing import pil_centre_crop, pil_resized_crop


class BatchOfOneSize:
    """Crop, flip and per-image operations of images of one size: (B, C, H, W) uint8 and origin -> the same.

    Args:
        seed: of the run.
        hflip: probability of a mirrored image.
        mean: per channel, of pixels in [0, 1]: the colour of what moves in.
    """

    def __init__(self, recipe: Recipe, *, seed: int, hflip: float, mean: Sequence[float], operation: PerImage) -> None:
        self.recipe, self.seed, self.hflip, self.operation = recipe, seed, hflip, operation
        self.fill = geometry.fill_colour(mean)
        self.draw = geometry.crop_and_flip_draws(recipe, seed, hflip)

    def __call__(self, images: Tensor, origin: Tensor) -> Tensor:
        draws, size = self.draw(origin), geometry.shown_size(self.recipe, images, origin)
        mirror = geometry.mirrored(self.recipe, self.hflip, draws, origin[:, 0])
        batch = geometry.crop_and_flip(self.recipe, draws, images, self.fill, mirror, size)
        pictures = [to_picture(image) for image in batch]
        for i, key in enumerate(origin.tolist()):
            pictures[i] = apply_to(pictures[i], self.operation, self.seed, key)
        return to_batch(pictures)


class BatchOfPhotographs:
    """The same of PIL images of any size: -> (B, C, side, side) uint8 of side train_res, or progressive_res.

    Raises:
        RecipeError: the recipe's crop is for images of one size.
    """

    def __init__(self, recipe: Recipe, *, seed: int, hflip: float, operation: PerImage | None) -> None:
        if recipe.crop not in ("rrc", "scale_jitter"):
            raise RecipeError(
                f"recipe.crop={recipe.crop} needs images of one size; files of any size take rrc or scale_jitter,\n"
                "for example recipe.crop=rrc recipe.crop_scale=[0.08,1] recipe.crop_ratio=[0.75,1.3333] "
                "recipe.crop_padding=0 recipe.crop_padding_mode=none"
            )
        self.recipe, self.seed, self.hflip, self.operation = recipe, seed, hflip, operation
        self.draw = geometry.crop_and_flip_draws(recipe, seed, hflip)

    def __call__(self, images: Sequence[Image.Image], origin: Tensor) -> Tensor:
        draws, keys = self.draw(origin), origin.tolist()
        height, width = (torch.tensor([getattr(image, side) for image in images]) for side in ("height", "width"))
        boxes = geometry.crop_boxes(self.recipe, draws["crop"], height, width).tolist()
        mirror = geometry.mirrored(self.recipe, self.hflip, draws, origin[:, 0])
        flags = [False] * len(images) if mirror is None else mirror.tolist()
        side = geometry.train_side(self.recipe, keys[0][0])
        return to_batch([self._one(*image, side) for image in zip(images, boxes, flags, keys, strict=True)])

    def _one(self, image: Image.Image, box: list[float], mirror: bool, key: list[int], side: int) -> Image.Image:
        jitters = self.recipe.crop == "scale_jitter"
        image = pil_resized_crop(image, box, (side, side), self.recipe.interpolation, beyond=jitters)
        if mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image if self.operation is None else apply_to(image, self.operation, self.seed, key)


class EvaluationCrop:
    """PIL images to (B, C, test_res, test_res) uint8: short side to test_res / test_crop_ratio, central crop.

    The short side is rounded down, as in timm: 224 / 0.95 is 235.
    """

    def __init__(self, recipe: Recipe) -> None:
        short = math.floor(recipe.test_res / recipe.test_crop_ratio)
        self.arguments = (recipe.test_res, short, recipe.test_interpolation or recipe.interpolation)

    def __call__(self, images: Sequence[Image.Image], origin: Tensor) -> Tensor:
        return to_batch([pil_centre_crop(image, *self.arguments) for image in images])


def to_picture(image: Tensor) -> Image.Image:
    """(C, H, W) uint8 of one or three channels to PIL."""
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).contiguous().numpy())


def to_batch(pictures: Sequence[Image.Image]) -> Tensor:
    """PIL images of one size as (B, C, H, W) uint8, of the memory that they have: channels last."""
    arrays = [numpy.asarray(picture) for picture in pictures]
    batch = torch.from_numpy(numpy.stack(arrays))
    return batch[:, None] if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
