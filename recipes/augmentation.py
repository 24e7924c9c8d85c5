"""A recipe's augmentation, split between the worker processes and the device.

In the order of the papers and of timm: crop, flip, per-image operations, normalisation, lighting, erasing. Crops and
flips of images of one size are batch operations on the device. Operations that exist only for a single PIL image
(RandAugment, AutoAugment, colour jitter), and files, whose sizes differ, pull all before them into the workers.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence

import numpy
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from recipes import geometry
from recipes.randomness import normal, number, uniform
from recipes.recipe import Recipe, RecipeError

# Eigenvalues and eigenvectors (columns) of the colours of ImageNet's training pixels in [0, 1], as published with
# fb.resnet.torch; Krizhevsky et al. 2012, section 4.1.
EIGENVALUES = [0.2175, 0.0188, 0.0045]
EIGENVECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]

Images = Tensor | Sequence[Image.Image]


class Augmentation:
    """Training augmentation as a pure function of (images, origin), in two parts.

    Args:
        seed: of the run.
        mirror: whether a mirrored image is still of its class; false turns hflip off.
        mean, std: per channel, of pixels in [0, 1].
        native: images come as a uint8 tensor of one size, which is kept; else as PIL images.

    Attributes:
        in_workers: the part for the worker processes, (images, origin) -> (B, C, H, W) uint8; None if there is none.
    """

    def __init__(
        self, recipe: Recipe, *, seed: int, mirror: bool, mean: Sequence[float], std: Sequence[float], native: bool
    ) -> None:
        self.recipe, self.seed = recipe, seed
        self.hflip = recipe.hflip if mirror else 0.0
        if recipe.crop == "pad" and not native:
            raise RecipeError("recipe.crop=pad needs images of one size; use recipe.crop=rrc for files of any size.")
        if recipe.crop == "none" and not native:
            raise RecipeError("recipe.crop=none needs images of one size; use recipe.crop=rrc for files of any size.")
        self.lighting = recipe.pca_lighting if len(mean) == 3 else 0.0  # three colours have principal components
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
        self.fill = (torch.tensor(mean) * 255).round().to(torch.uint8)
        self.colours = torch.tensor(EIGENVALUES) * torch.tensor(EIGENVECTORS)  # a component a column
        self.per_image = self._per_image_operation()
        self.in_workers = self._in_workers if self.per_image or not native else None

    def _per_image_operation(self) -> Callable[[Image.Image], Image.Image] | None:
        recipe = self.recipe
        operations: list[Callable[[Image.Image], Image.Image]] = []
        if recipe.color_jitter:
            operations.append(ColorJitter(recipe.color_jitter))
        if recipe.rand_augment or recipe.auto_augment:
            operations.append(timm_policy(recipe, tuple(self.fill.tolist())))
        if not operations:
            return None
        return functools.partial(_chain, operations)

    def _in_workers(self, images: Images, origin: Tensor) -> Tensor:
        native = isinstance(images, Tensor)
        batch = self._geometry(images, origin) if native else self._pil_geometry(images, origin)  # type: ignore[arg-type]
        if self.per_image is None:
            return batch
        return torch.stack([self._one(image, key) for image, key in zip(batch, origin.tolist(), strict=True)])

    def _one(self, image: Tensor, key: list[int]) -> Tensor:
        """timm draws from the global generators of Python and numpy: make them a function of the image's origin."""
        assert self.per_image is not None
        random.seed(number(self.seed, "per image", *key))
        numpy.random.seed(number(self.seed, "per image", *key) & 0xFFFFFFFF)
        grey = image.shape[0] == 1
        pixels = image.expand(3, -1, -1) if grey else image
        out = self.per_image(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()))
        array = numpy.array(out.convert("L") if grey else out)
        return torch.from_numpy(array[None] if grey else array.transpose(2, 0, 1).copy())

    def to(self, device: torch.device) -> None:
        """Keep the constants on the device, so that no step copies them there."""
        self.mean, self.std, self.fill, self.colours = (
            constant.to(device) for constant in (self.mean, self.std, self.fill, self.colours)
        )

    def on_device(self, images: Tensor, origin: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, C, H, W) float32, normalised, on the same device."""
        if self.in_workers is None:
            images = self._geometry(images, origin)
        pixels = images.float() / 255
        if self.lighting:
            alpha = normal(self.seed, "lighting", origin, 3) * self.lighting
            pixels += (alpha @ self.colours.T)[:, :, None, None]
        pixels.sub_(self.mean).div_(self.std)
        if self.recipe.erasing_prob:
            pixels = erase(pixels, self.recipe.erasing_prob, self.seed, origin)
        return pixels

    def normalise(self, images: Tensor) -> Tensor:
        """Evaluation's share of the work: uint8 to normalised float32."""
        return (images.float() / 255).sub_(self.mean).div_(self.std)

    def _geometry(self, images: Tensor, origin: Tensor) -> Tensor:
        recipe = self.recipe
        if recipe.crop == "pad":
            steps = 2 * recipe.crop_padding + 1
            shift = (uniform(self.seed, "crop", origin, 2) * steps).long()
            images = geometry.padded_shift(images, recipe.crop_padding, recipe.crop_padding_mode, self.fill, shift)
        elif recipe.crop != "none":
            size = (images.shape[2], images.shape[3])
            height, width = (torch.full_like(origin[:, 0], side) for side in size)
            boxes = geometry.crop_boxes(recipe, self.seed, origin, height, width)
            images = geometry.resized_crop(images, boxes, size, recipe.interpolation)
        if self.hflip:
            images = geometry.flip(images, uniform(self.seed, "flip", origin, 1)[:, 0] < self.hflip)
        return images

    def _pil_geometry(self, images: Sequence[Image.Image], origin: Tensor) -> Tensor:
        recipe, size = self.recipe, (self.recipe.train_res, self.recipe.train_res)
        height, width = (torch.tensor([getattr(image, side) for image in images]) for side in ("height", "width"))
        boxes = geometry.crop_boxes(recipe, self.seed, origin, height, width).tolist()
        mirrored = (uniform(self.seed, "flip", origin, 1)[:, 0] < self.hflip).tolist()
        batch = []
        for image, box, mirror in zip(images, boxes, mirrored, strict=True):
            image = geometry.pil_resized_crop(image, box, size, recipe.interpolation)
            batch.append(to_tensor(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else image))
        return torch.stack(batch)


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


def timm_policy(recipe: Recipe, fill: tuple[int, ...]) -> Callable[[Image.Image], Image.Image]:
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


def _chain(operations: Sequence[Callable[[Image.Image], Image.Image]], image: Image.Image) -> Image.Image:
    for operation in operations:
        image = operation(image)
    return image
