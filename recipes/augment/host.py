"""Augmentation on the host, in worker processes.

The order is that of the papers and of timm: crop, flip, operations on single images (policies.py), and then, on the
device, lighting, normalisation and erasing (device.py). Photographs, which have any size, take two steps. The recipe
chooses a box of each and its final size (CropResize), and the data module decodes that box. The result is a batch of
one size, whose remaining crop and flip are done on the device, unless an operation on single images follows them.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

from lineage.pillow import FILTERS, CropResize, to_picture, to_pixels
from lineage.recipes.augment import boxes, geometry
from lineage.recipes.augment.device import DeviceAugmentation
from lineage.recipes.augment.policies import PerImage, apply_operation, per_image_operation
from lineage.recipes.inference import MULTI_CROP
from lineage.recipes.recipe import Recipe

Size = tuple[int, int]  # height, width


class HostAugmentation:
    """Crop, flip and per-image operation of images of one size: (B, C, H, W) uint8 and sample keys -> the same.

    Empty pixels get the mean colour; `mean` is that of each channel of pixels in [0, 1].
    """

    def __init__(self, recipe: Recipe, *, seed: int, mean: Sequence[float], operation: PerImage) -> None:
        self.recipe, self.seed, self.operation = recipe, seed, operation
        self.fill = geometry.fill_colour(mean)
        self.draw = geometry.crop_and_flip_draws(recipe, seed)

    def output_size(self, native: Size | None, epoch: int) -> Size:
        assert native is not None
        return geometry.output_size(self.recipe, native, epoch)

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        recipe, draws, epoch = self.recipe, self.draw(sample_keys), int(sample_keys[0, 0])
        if recipe.crop == "rrc":
            boxes, size = geometry.crop_boxes(recipe, draws["crop"], *geometry.sides(images)), images.shape[2:]
            images = _cut_all(images, boxes, self.output_size((size[0], size[1]), epoch), recipe.interpolation)
            recipe = dataclasses.replace(recipe, crop="none", progressive_res=[])
        images = geometry.crop_and_flip(recipe, draws, images, sample_keys, self.fill, epoch)
        rows = zip(images.permute(0, 2, 3, 1).numpy(), sample_keys.tolist(), strict=True)  # (H, W, C) each
        done = [apply_operation(to_picture(image), self.operation, self.seed, sample_key) for image, sample_key in rows]
        return torch.from_numpy(numpy.stack([to_pixels(picture) for picture in done])).permute(0, 3, 1, 2)


def _cut_all(images: Tensor, boxes: Tensor, size: Size, interpolation: str) -> Tensor:
    """The pixels of resizing.resized_crop, without those beyond the box, in a quarter of its time on a CPU."""
    cut = []
    for image, (top, left, height, width) in zip(images.permute(0, 2, 3, 1).numpy(), boxes.int().tolist(), strict=True):
        grows = height < size[0] or width < size[1]
        kernel = FILTERS["bilinear" if interpolation == "area" and grows else interpolation]
        rows = to_picture(image[top : top + height, left : left + width]).resize((size[1], height), kernel)
        cut.append(to_pixels(rows.resize(size[::-1], kernel)))
    return torch.from_numpy(numpy.stack(cut)).permute(0, 3, 1, 2)


class TrainCrop:
    """The recipe's crop of photographs. rrc and scale_jitter choose a box; for any other crop the central square of the
    short side is resized to train_res (or progressive_res), and the crop follows as for images of one size, on the host
    in `after`."""

    def __init__(self, recipe: Recipe, *, seed: int, after: HostAugmentation | None = None) -> None:
        self.recipe, self.after = recipe, after
        self.draw = geometry.crop_and_flip_draws(recipe, seed)

    def output_size(self, native: Size | None, epoch: int) -> Size:
        return (geometry.train_size(self.recipe, epoch),) * 2

    def crops(self, sample_keys: Tensor, sizes: Tensor) -> list[CropResize]:
        """A crop for each photograph, of the given heights and widths, (B, 2)."""
        recipe, size = self.recipe, self.output_size(None, int(sample_keys[0, 0]))
        if geometry.is_box_crop(recipe):
            found = geometry.crop_boxes(recipe, self.draw(sample_keys)["crop"], sizes[:, 0], sizes[:, 1])
        else:
            found = boxes.central_crop(sizes, size[0], size[0])
        return [CropResize(tuple(box), size, recipe.interpolation, recipe.crop != "rrc") for box in found.tolist()]

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        return images if self.after is None else self.after(images, sample_keys)


class EvalCrop:
    """The crop of an evaluation: short side to test_res / test_crop_ratio, then the central square of test_res.

    The short side is rounded down, as in timm: 224 / 0.95 is 235. For views that are crops themselves, the square is as
    large as the short side. With `exact` the pixels are exactly Pillow's.
    """

    def __init__(self, recipe: Recipe, exact: bool = True) -> None:
        self.exact, self.short = exact, math.floor(recipe.test_res / recipe.test_crop_ratio)
        self.side = self.short if recipe.test_views in MULTI_CROP else recipe.test_res
        self.interpolation = recipe.test_interpolation or recipe.interpolation

    def output_size(self, native: Size | None, epoch: int) -> Size:
        return self.side, self.side

    def crops(self, sample_keys: Tensor, sizes: Tensor) -> list[CropResize]:
        found = boxes.central_crop(sizes, self.short, self.side).tolist()
        resized = [boxes.resized_size(width, height, self.short)[::-1] for height, width in sizes.tolist()]
        return [
            CropResize(tuple(box), (self.side, self.side), self.interpolation, True, whole if self.exact else None)
            for box, whole in zip(found, resized, strict=True)
        ]

    def __call__(self, images: Tensor, sample_keys: Tensor) -> Tensor:
        return images


def build_augmentation(
    recipe: Recipe, *, one_size: bool, seed: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[HostAugmentation | TrainCrop | None, DeviceAugmentation]:
    """The augmentation on the host, None if it does nothing there, and that on the device.

    Args:
        one_size: whether all images have one size; otherwise they are photographs.
        mean, std: of each channel of pixels in [0, 1].

    Raises:
        RecipeError: timm does not understand the recipe's policy.
    """
    operation = per_image_operation(recipe, mean)
    of_batch = recipe
    if not one_size:  # TrainCrop has cropped them
        crop = "none" if geometry.is_box_crop(recipe) else recipe.crop
        of_batch = dataclasses.replace(recipe, crop=crop, progressive_res=[])
    batches = None if operation is None else HostAugmentation(of_batch, seed=seed, mean=mean, operation=operation)
    host = batches if one_size else TrainCrop(recipe, seed=seed, after=batches)
    return host, DeviceAugmentation(of_batch, seed=seed, mean=mean, std=std, crop_here=operation is None)
