"""What lineage preview says of a data set beside the picture: how many images of each class, sizes, mean and
deviation."""

from __future__ import annotations

import contextlib
from dataclasses import fields

import numpy
import torch
from rich import box
from rich.table import Table
from rich.text import Text

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.decoding import ImageError
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.images import Images
from lineage.recipes.keys.augmentation import Augmentation
from lineage.recipes.recipe import Recipe
from lineage.reporting.training_images import tested

SAMPLE = 256  # images whose sizes and pixels are looked at
FEW, ENDS = 20, 5  # classes that are all listed; of more so many of the largest and of the smallest
# Augmentation that says nothing while these are off.
BESIDE = {
    "erasing_mode": ("erasing_prob",),
    "mix_partner": ("mixup_alpha", "cutmix_alpha"),
    "mix_per": ("mixup_alpha", "cutmix_alpha"),
}


def augmentation(recipe: Recipe) -> str:
    """What a recipe does to images, in the words of its file."""
    said = {field.name: getattr(recipe, field.name) for field in fields(Augmentation)}
    said = {**said, "repeated_aug": recipe.repeated_aug, "progressive_res": recipe.progressive_res}
    acting = {
        name: value
        for name, value in said.items()
        if value not in (0, "", [], "none") and any(said[other] for other in BESIDE.get(name, (name,)))
    }
    return " ".join(f"{name}={_shown(value)}" for name, value in acting.items()) or "none"


def statistics(data: ImageDataModule) -> dict[str, str]:
    """Of the training images, by a word; mean and deviation beside what the config says.

    Raises:
        DataError: an image cannot be read.
    """
    images = data.train
    sample = torch.from_numpy(numpy.unique(numpy.linspace(0, len(images) - 1, SAMPLE).astype(int)))
    pixels = tested(data, sample) / 255
    return {
        "images": f"{len(data.train):,} train, {len(data.val):,} validation, {len(data.test):,} test",
        "size": _sizes(images, sample.tolist()),
        "mean": _beside(pixels.mean(axis=(0, 1, 2)), data.mean, len(sample)),
        "deviation": _beside(pixels.std(axis=(0, 1, 2)), data.std, len(sample)),
    }


def _sizes(images: Images, sample: list[int]) -> str:
    """Width first, of those that can be read."""
    if not isinstance(images, EncodedImages):
        return "x".join(map(str, reversed(images.native or ())))
    found = []
    for image in sample:
        with contextlib.suppress(OSError, ImageError):
            found.append(images.open(image).size)
    found.sort(key=lambda size: (size[0] * size[1], size))
    ends = [f"{width}x{height}" for height, width in (found[i] for i in (0, len(found) // 2, -1) if found)]
    return f"{ends[0]} to {ends[2]} (median {ends[1]}), of {len(found)}" if ends else "of none"


def class_table(data: ImageDataModule) -> Table:
    """A row a class, of few; else the largest and the smallest."""
    splits = {"train": data.train, "validation": data.val, "test": data.test}
    counts = [torch.bincount(images.labels.cpu(), minlength=data.num_classes).tolist() for images in splits.values()]
    names, order = data.class_names(), list(range(data.num_classes))
    if len(order) > FEW:
        order.sort(key=lambda label: -counts[0][label])
        order = [*order[:ENDS], -1, *order[-ENDS:]]
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("class")
    for name in splits:
        table.add_column(name, justify="right")
    for label in order:
        if label < 0:
            table.add_row(Text(f"{data.num_classes - 2 * ENDS:,} more"), *("..." for _ in splits), style="dim")
        else:
            table.add_row(Text(names[label]), *(f"{count[label]:,}" for count in counts))
    return table


def _beside(found: numpy.ndarray, said: list[float], count: int) -> str:
    ours, theirs = (", ".join(f"{value:.4f}" for value in values) for values in (found, said))
    return f"{ours} of {count} images as a test shows them; the config says {theirs}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
