"""What lineage preview prints of a data set: numbers of images, sizes, mean and deviation, and a table of classes."""

import contextlib

import numpy
import torch

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.decoding import ImageError
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.images import Images
from lineage.recipes.recipe import Recipe, recipe_keys
from lineage.reporting.training_images import evaluation_images
from lineage.text import as_yaml, visible

SAMPLE = 256  # images that are read for sizes, mean and deviation
FEW, ENDS = 20, 5  # up to FEW classes are all listed; of more, the ENDS largest and the ENDS smallest
# Keys that have no effect while all of these are off.
DEPENDS_ON = {
    "erasing_mode": ("erasing_prob",),
    "mix_partner": ("mixup_alpha", "cutmix_alpha"),
    "mix_per": ("mixup_alpha", "cutmix_alpha"),
}


def augmentation(recipe: Recipe) -> str:
    """The augmentation that a recipe turns on, as it stands in its file."""
    names = [*recipe_keys()["augmentation"], "repeated_aug", "progressive_res"]
    values = {name: getattr(recipe, name) for name in names}
    on = [name for name in names if values[name] not in (0, "", [], "none")]
    acting = [name for name in on if any(values[other] for other in DEPENDS_ON.get(name, (name,)))]
    return " ".join(f"{name}={as_yaml(values[name])}" for name in acting) or "none"


def statistics(data: ImageDataModule) -> dict[str, str]:
    """Rows of a table: numbers of images; sizes, mean and deviation of a sample of the training images.

    Raises:
        DataError: an image cannot be read.
    """
    images = data.train
    sample = torch.from_numpy(numpy.unique(numpy.linspace(0, len(images) - 1, SAMPLE).astype(int)))
    pixels = evaluation_images(data, sample) / 255
    return {
        "images": f"{len(data.train):,} train, {len(data.val):,} validation, {len(data.test):,} test",
        "size": _sizes(images, sample.tolist()),
        "mean": _beside_config(pixels.mean(axis=(0, 1, 2)), data.mean, len(sample)),
        "deviation": _beside_config(pixels.std(axis=(0, 1, 2)), data.std, len(sample)),
    }


def _sizes(images: Images, sample: list[int]) -> str:
    """Width x height; the smallest, largest and median of images that differ. Unreadable images are left out."""
    if not isinstance(images, EncodedImages):
        return "x".join(map(str, reversed(images.native or ())))
    sizes = []
    for image in sample:
        with contextlib.suppress(OSError, ImageError):
            sizes.append(images.open(image).size)
    sizes.sort(key=lambda size: (size[0] * size[1], size))
    ends = [f"{width}x{height}" for height, width in (sizes[i] for i in (0, len(sizes) // 2, -1) if sizes)]
    return f"{ends[0]} to {ends[2]} (median {ends[1]}), of {len(sizes)}" if ends else "of none"


def _beside_config(measured: numpy.ndarray, configured: list[float], count: int) -> str:
    ours, theirs = (", ".join(f"{value:.4f}" for value in values) for values in (measured, configured))
    return f"{ours} of {count} images as an evaluation has them; the config says {theirs}"


def class_table(data: ImageDataModule) -> tuple[list[str], list[list[str]]]:
    """Head and rows of numbers of images: by class, or, of more than FEW, of the largest and the smallest ones."""
    splits = {"train": data.train, "validation": data.val, "test": data.test}
    counts = [torch.bincount(images.labels.cpu(), minlength=data.num_classes).tolist() for images in splits.values()]
    names, order = data.class_names(), list(range(data.num_classes))
    rows = [[*(f"{count[label]:,}" for count in counts), visible(names[label])] for label in order]
    if len(rows) > FEW:
        order.sort(key=lambda label: -counts[0][label])
        rows = [rows[label] for label in order]
        rows[ENDS:-ENDS] = [[*("..." for _ in splits), f"{len(rows) - 2 * ENDS:,} more"]]
    return [*splits, "class"], rows
