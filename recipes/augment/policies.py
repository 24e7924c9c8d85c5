"""Operations on single PIL images: timm's RandAugment and AutoAugment, torchvision's TrivialAugment, colour jitter."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageEnhance, ImageOps

from lineage.recipes.augment import geometry
from lineage.recipes.augment.affine import AFFINE_OPERATIONS
from lineage.recipes.augment.randomness import reseed_python
from lineage.recipes.augment.resizing import PIL_FILTERS
from lineage.recipes.recipe import Recipe, RecipeError

PerImage = Callable[[Image.Image], Image.Image]


def per_image_operation(recipe: Recipe, mean: Sequence[float]) -> PerImage | None:
    """The recipe's operations on single PIL images, one after the other; None if it has none.

    Colour jitter comes after a policy, as in timm, where it is off beside one unless forced.
    """
    operations: list[PerImage] = []
    if recipe.rand_augment or recipe.auto_augment:
        operations.append(timm_policy(recipe, tuple(geometry.fill_colour(mean).tolist())))
    if recipe.trivial_augment:
        operations.append(trivial_augment(recipe))
    if recipe.color_jitter:
        operations.append(ColorJitter(recipe.color_jitter))
    return functools.partial(_chain, operations) if operations else None


def apply_operation(image: Image.Image, operation: PerImage, seed: int, sample_key: Sequence[int]) -> Image.Image:
    """The operation, a function of seed and sample_key: what it draws from is seeded; a grey image stays grey."""
    reseed_python(seed, "per image", *sample_key)
    return operation(image.convert("RGB")).convert("L") if image.mode == "L" else operation(image)


def timm_policy(recipe: Recipe, fill: tuple[int, ...]) -> PerImage:
    """timm's RandAugment or AutoAugment; pixels that move in take the mean colour.

    Raises:
        RecipeError: timm does not understand the string.
    """
    from timm.data.auto_augment import auto_augment_transform, rand_augment_transform

    colour = fill * 3 if len(fill) == 1 else fill
    options = {"img_mean": colour, "interpolation": PIL_FILTERS[_of_turns(recipe)]}
    name = "rand_augment" if recipe.rand_augment else "auto_augment"
    build = rand_augment_transform if recipe.rand_augment else auto_augment_transform
    try:
        transform = build(getattr(recipe, name), options)
    except (AssertionError, ValueError, KeyError) as error:
        raise RecipeError(f"recipe.{name}={getattr(recipe, name)}: timm does not understand it.") from error
    policy = transform.ops if recipe.rand_augment else [one for several in transform.policy for one in several]
    for one in policy:
        one.aug_fn = REPLACEMENTS.get(one.aug_fn.__name__, one.aug_fn)
    return transform


def posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """timm's, of no bits too: black, as Pillow made it before it came to refuse them (version 13)."""
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)


REPLACEMENTS = {**AFFINE_OPERATIONS, "posterize": posterize}  # instead of timm's functions of these names


def trivial_augment(recipe: Recipe) -> PerImage:
    """torchvision's TrivialAugmentWide (Mueller and Hutter 2021, arXiv 2103.10158); what moves in is black there."""
    from torchvision.transforms import InterpolationMode, TrivialAugmentWide

    return TrivialAugmentWide(interpolation=InterpolationMode(_of_turns(recipe)))


def _of_turns(recipe: Recipe) -> str:
    """The filter of rotations and shears; a mean over an area is for shrinking."""
    return "bilinear" if recipe.interpolation == "area" else recipe.interpolation


class ColorJitter:
    """Brightness, contrast and saturation, each times U[1 - s, 1 + s] but not below 0, in random order."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, image: Image.Image) -> Image.Image:
        operations = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
        random.shuffle(operations)
        for operation in operations:
            image = operation(image).enhance(random.uniform(max(0, 1 - self.strength), 1 + self.strength))
        return image


def _chain(operations: Sequence[PerImage], image: Image.Image) -> Image.Image:
    for operation in operations:
        image = operation(image)
    return image
