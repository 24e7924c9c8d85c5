"""The part of a recipe's augmentation that runs in worker processes, on the host, image by image: no device state.

In the order of the papers and of timm: crop, flip, per-image operations; normalisation, lighting and erasing follow on
the device (recipes/device_augmentation.py). Crops and flips of images of one size are batch operations, and run on the
device too unless an operation that exists only for a single PIL image (RandAugment, AutoAugment, colour jitter) follows
them.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence

import numpy
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from recipes import geometry
from recipes.randomness import number, uniform
from recipes.recipe import Recipe, RecipeError

PerImage = Callable[[Image.Image], Image.Image]


def per_image_operation(recipe: Recipe, mean: Sequence[float]) -> PerImage | None:
    """The recipe's operations on single PIL images, one after the other; None if it has none."""
    operations: list[PerImage] = []
    if recipe.color_jitter:
        operations.append(ColorJitter(recipe.color_jitter))
    if recipe.rand_augment or recipe.auto_augment:
        operations.append(timm_policy(recipe, tuple(geometry.fill_colour(mean).tolist())))
    return functools.partial(_chain, operations) if operations else None


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

    def __call__(self, images: Tensor, origin: Tensor) -> Tensor:
        batch = geometry.crop_and_flip(self.recipe, self.seed, self.hflip, self.fill, images, origin)
        return apply_per_image(self.operation, self.seed, batch, origin)


class BatchOfPhotographs:
    """The same of PIL images of any size: -> (B, C, train_res, train_res) uint8.

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

    def __call__(self, images: Sequence[Image.Image], origin: Tensor) -> Tensor:
        recipe, size = self.recipe, (self.recipe.train_res, self.recipe.train_res)
        height, width = (torch.tensor([getattr(image, side) for image in images]) for side in ("height", "width"))
        boxes = geometry.crop_boxes(recipe, self.seed, origin, height, width).tolist()
        mirrored = (uniform(self.seed, "flip", origin, 1)[:, 0] < self.hflip).tolist()
        batch = []
        for image, box, mirror in zip(images, boxes, mirrored, strict=True):
            image = geometry.pil_resized_crop(image, box, size, recipe.interpolation)
            batch.append(to_tensor(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else image))
        if self.operation is None:
            return torch.stack(batch)
        return apply_per_image(self.operation, self.seed, torch.stack(batch), origin)


class EvaluationCrop:
    """PIL images to (B, C, test_res, test_res) uint8: short side to test_res / test_crop_ratio, central crop."""

    def __init__(self, recipe: Recipe) -> None:
        self.arguments = (recipe.test_res, recipe.test_crop_ratio, recipe.interpolation)

    def __call__(self, images: Sequence[Image.Image], origin: Tensor) -> Tensor:
        return torch.stack([to_tensor(geometry.pil_centre_crop(image, *self.arguments)) for image in images])


def to_tensor(image: Image.Image) -> Tensor:
    """A PIL image as (C, H, W) uint8."""
    array = numpy.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def apply_per_image(operation: PerImage, seed: int, images: Tensor, origin: Tensor) -> Tensor:
    """Each of (B, C, H, W) uint8 through a PIL operation.

    timm draws from the global generators of Python and numpy: they are made a function of the image's origin.
    """
    out = []
    for image, key in zip(images, origin.tolist(), strict=True):
        random.seed(number(seed, "per image", *key))
        numpy.random.seed(number(seed, "per image", *key) & 0xFFFFFFFF)
        grey = image.shape[0] == 1
        pixels = image.expand(3, -1, -1) if grey else image
        changed = operation(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()))
        out.append(to_tensor(changed.convert("L") if grey else changed))
    return torch.stack(out)


class ColorJitter:
    """Brightness, contrast and saturation, each times U[1 - s, 1 + s], in random order."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, image: Image.Image) -> Image.Image:
        operations = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
        random.shuffle(operations)
        for operation in operations:
            image = operation(image).enhance(random.uniform(max(0, 1 - self.strength), 1 + self.strength))
        return image


def timm_policy(recipe: Recipe, fill: tuple[int, ...]) -> PerImage:
    """timm's RandAugment or AutoAugment; pixels that move in take the mean colour.

    Raises:
        RecipeError: timm does not understand the string.
    """
    from timm.data.auto_augment import auto_augment_transform, rand_augment_transform

    colour = fill * 3 if len(fill) == 1 else fill
    options = {"img_mean": colour, "interpolation": geometry.PIL_FILTERS[recipe.interpolation]}
    name = "rand_augment" if recipe.rand_augment else "auto_augment"
    build = rand_augment_transform if recipe.rand_augment else auto_augment_transform
    try:
        return build(getattr(recipe, name), options)
    except (AssertionError, ValueError, KeyError) as error:
        raise RecipeError(f"recipe.{name}={getattr(recipe, name)}: timm does not understand it.") from error


def _chain(operations: Sequence[PerImage], image: Image.Image) -> Image.Image:
    for operation in operations:
        image = operation(image)
    return image
