"""A recipe's augmentation, split into the part of the host and that of the device."""

from collections.abc import Sequence

from lineage.recipes.augment.device import DeviceAugmentation
from lineage.recipes.augment.host import HostAugmentation, TrainCrop, recipe_after_crop
from lineage.recipes.augment.policies import per_image_operation
from lineage.recipes.recipe import Recipe


def build_augmentation(
    recipe: Recipe, *, one_size: bool, seed: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[HostAugmentation | TrainCrop | None, DeviceAugmentation]:
    """The augmentation on the host, None if it does nothing there, and that on the device.

    Args:
        one_size: whether all images have one size; otherwise they are photographs.
        seed: of the run.
        mean, std: of each channel of pixels in [0, 1].

    Raises:
        RecipeError: timm does not understand the recipe's policy.
    """
    operation = per_image_operation(recipe, mean)
    batch_recipe = recipe if one_size else recipe_after_crop(recipe)
    batches = None
    if operation is not None:
        batches = HostAugmentation(batch_recipe, seed=seed, mean=mean, operation=operation)
    host = batches if one_size else TrainCrop(recipe, seed=seed, after=batches)
    return host, DeviceAugmentation(batch_recipe, seed=seed, mean=mean, std=std, crop_here=operation is None)
