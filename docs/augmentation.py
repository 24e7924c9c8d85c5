"""A photograph as the network sees it under each procedure, as a picture and as a number: make docs"""

import csv
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from unittest import mock

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images
from timm.data.auto_augment import AugmentOp
from torch import Tensor
from torchvision.transforms import autoaugment

from docs.procedures import NAMES, PICTURES, recipe, resolution
from lineage.datamodules.decoding.decoding import Decoded
from lineage.datamodules.decoding.resampling import resize_and_crop_by_pillow
from lineage.pillow import to_picture
from lineage.recipes.augment.boxes import resized_size
from lineage.recipes.augment.host import TrainCrop, build_augmentation
from lineage.recipes.mixing import Mix, draw_mix, mix_images
from lineage.recipes.recipe import Recipe

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's
SMALL = 32  # pixels of photographs for a procedure of small images
DRAWS = 32  # over which the strength is averaged
WIDTH, COLUMNS, SIDE, TITLE, LINE, LINES = 1280, 4, 150, 28, 19, 3  # of the picture; in pixels but for COLUMNS, LINES
CROPS = {"rrc": "crop", "scale_jitter": "crop", "pad": "shift", "none": ""}


def draws(name: str, count: int) -> tuple[Tensor, Tensor, list[list[str]]]:
    """`count` draws of a photograph, mixed with another one if the recipe mixes, and the plain photograph.

    Returns:
        (count, 3, side, side) and (3, side, side) float32, normalised, and what was done in each draw.
    """
    own = replace(recipe(name), train_res=resolution(name), test_res=resolution(name))
    pair = load_sample_images().images  # china.jpg and flower.jpg, (427, 640, 3) uint8
    small = own.crop in ("pad", "none")
    size = (SMALL if small else own.train_res,) * 2
    whole = resized_size(640, 427, size[0])[::-1]
    plain = [resize_and_crop_by_pillow(to_picture(pixels), whole, size, own.interpolation) for pixels in pair]
    host, augment = build_augmentation(own, one_size=small, seed=0, mean=MEAN, std=STD)
    cropping: Any = augment if augment.crop_here else getattr(host, "after", host)
    found, words = [], []
    for number in range(count):
        keys, images = torch.tensor([[number, sample, 0] for sample in range(2)]), plain
        if isinstance(host, TrainCrop):
            crops = host.crops(keys, torch.tensor([pixels.shape[:2] for pixels in pair]))
            images = [Decoded(pixels).crop_resize(crop) for pixels, crop in zip(pair, crops, strict=True)]
        batch = batch_of(images)
        with noted() as done:
            first = batch[:1] if host is None else host(batch[:1], keys[:1])
        second = batch[1:] if host is None else host(batch[1:], keys[1:])
        pixels = augment(torch.cat((first, second)), keys, number)
        mix = draw_mix(own, pixels.shape[2], pixels.shape[3], 0, number)
        if mix is not None:
            pixels = mix_images(pixels, mix._replace(partner="reversed"))  # of two images, the other one
        found.append(pixels[0])
        words.append(said(own, {**cropping.draw(keys), **augment.draw(keys)}, number, done, mix))
    return torch.stack(found), augment.normalise(batch_of(plain)[0]), words


@contextmanager
def noted() -> Iterator[list[str]]:
    """The names of the policies' operations that change an image meanwhile."""
    done: list[str] = []
    of_timm, of_torchvision = AugmentOp.__call__, autoaugment._apply_op

    def note(name: str, before: Any, after: Any) -> Any:
        done.extend([name] * (after is not before))
        return after

    def by_timm(operation: AugmentOp, image: Any) -> Any:
        return note(operation.name, image, of_timm(operation, image))

    def by_torchvision(image: Any, name: str, *more: Any, **options: Any) -> Any:
        return note(name, image, of_torchvision(image, name, *more, **options))

    with mock.patch.object(AugmentOp, "__call__", by_timm), mock.patch.object(autoaugment, "_apply_op", by_torchvision):
        yield done


def said(own: Recipe, drawn: dict[str, Tensor], epoch: int, policy: Sequence[str], mix: Mix | None) -> list[str]:
    """What was done to the first image, in this order."""
    flipped = own.hflip and bool(drawn["flip"][0] < own.hflip) != bool(own.hflip_alternating and epoch % 2)
    words = [CROPS[own.crop], "flip" if flipped else ""]
    words += [re.sub(r"(?<=[a-z])([XY])", r" \1", re.sub("Increasing|Rel", "", name)).lower() for name in policy]
    words += ["colour jitter" if own.color_jitter else "", "lighting" if own.pca_lighting else ""]
    words += ["erasing" if own.erasing_prob and drawn["erased"][0] < own.erasing_prob else ""]
    words += ["cutout" if own.cutout else ""]
    if mix is not None:
        words.append(f"{'mixup' if mix.box is None else 'cutmix'} {100 * (1 - mix.lam):.0f}%")
    return [word for word in words if word] or ["unchanged"]


def batch_of(pictures: Sequence[numpy.ndarray]) -> Tensor:
    return torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2)


def strength(name: str) -> float:
    """The mean distance of a pixel from that of the plain photograph, in standard deviations."""
    drawn, plain, _ = draws(name, DRAWS)
    return float((drawn - plain).abs().mean())


def picture() -> Image.Image:
    """Two draws of each procedure, under its name, above what was done."""
    height = TITLE + SIDE + LINES * LINE + 16
    sheet = Image.new("RGB", (WIDTH, -(-len(NAMES) // COLUMNS) * height), "white")
    pen, title, font = ImageDraw.Draw(sheet), ImageFont.load_default(21), ImageFont.load_default(17)
    for place, name in enumerate(NAMES):
        left, top = place % COLUMNS * (WIDTH // COLUMNS), place // COLUMNS * height
        pen.text((left + 2, top + 2), name, fill="black", font=title)
        found, _, words = draws(name, 2)
        for x, pixels, done in zip((left + 2, left + SIDE + 10), found, words, strict=True):
            tile = to_image(pixels)
            filter = Image.Resampling.NEAREST if tile.width == SMALL else Image.Resampling.LANCZOS
            sheet.paste(tile.resize((SIDE, SIDE), filter), (x, top + TITLE))
            lines = textwrap.wrap(", ".join(done), 18)
            assert len(lines) <= LINES, lines
            for number, line in enumerate(lines):
                pen.text((x, top + TITLE + SIDE + 3 + LINE * number), line, fill="#444444", font=font)
    return sheet


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) normalised to PIL."""
    levels = pixels * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1)
    array = (levels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(cast(numpy.ndarray, array))


if __name__ == "__main__":
    measured = [(name, f"{strength(name):.2f}") for name in NAMES]
    with open(PICTURES / "strength.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("recipe", "strength"), *measured])
    picture().save(PICTURES / "augmentation.jpg", quality=78, optimize=True)
