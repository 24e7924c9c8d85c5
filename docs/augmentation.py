"""A photograph as the network sees it under each procedure, as a picture and as a number: make docs"""

import csv
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images
from torch import Tensor

from docs.procedures import NAMES, PICTURES, recipe, resolution
from lineage.datamodules.decoding.decoding import Decoded
from lineage.datamodules.decoding.resampling import resize_and_crop_by_pillow
from lineage.pillow import to_picture
from lineage.recipes.augment.boxes import resized_size
from lineage.recipes.augment.host import TrainCrop, build_augmentation
from lineage.recipes.mixing import draw_mix, mix_images

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's
SMALL = 32  # pixels of photographs for a procedure of small images
DRAWS = 32  # over which the strength is averaged
SIZE, COLUMNS, ROWS, SIDE, LABEL = (1280, 720), 6, 5, 104, 24  # of the picture, in pixels


def draws(name: str, count: int) -> tuple[Tensor, Tensor]:
    """`count` draws of a photograph, mixed with another one if the recipe mixes, and the plain photograph.

    Returns:
        (count, 3, side, side) and (3, side, side) float32, normalised.
    """
    own = replace(recipe(name), train_res=resolution(name), test_res=resolution(name))
    pair = load_sample_images().images  # china.jpg and flower.jpg, (427, 640, 3) uint8
    small = own.crop in ("pad", "none")
    size = (SMALL if small else own.train_res,) * 2
    whole = resized_size(640, 427, size[0])[::-1]
    plain = [resize_and_crop_by_pillow(to_picture(pixels), whole, size, own.interpolation) for pixels in pair]
    host, augment = build_augmentation(own, one_size=small, seed=0, mean=MEAN, std=STD)
    found = []
    for number in range(count):
        sample_keys, images = torch.tensor([[number, sample, 0] for sample in range(2)]), plain
        if isinstance(host, TrainCrop):
            crops = host.crops(sample_keys, torch.tensor([pixels.shape[:2] for pixels in pair]))
            images = [Decoded(pixels).crop_resize(crop) for pixels, crop in zip(pair, crops, strict=True)]
        pixels = augment(batch_of(images) if host is None else host(batch_of(images), sample_keys), sample_keys, number)
        mix = draw_mix(own, pixels.shape[2], pixels.shape[3], 0, number)
        if mix is not None:
            pixels = mix_images(pixels, mix._replace(partner="reversed"))  # of two images, the other one
        found.append(pixels[0])
    return torch.stack(found), augment.normalise(batch_of(plain)[0])


def batch_of(pictures: Sequence[numpy.ndarray]) -> Tensor:
    return torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2)


def strength(name: str) -> float:
    """The mean distance of a pixel from that of the plain photograph, in standard deviations."""
    drawn, plain = draws(name, DRAWS)
    return float((drawn - plain).abs().mean())


def picture() -> Image.Image:
    """Two draws of each procedure, under its name."""
    sheet = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for place, name in enumerate(NAMES):
        left, top = place % COLUMNS * (SIZE[0] // COLUMNS), place // COLUMNS * (SIZE[1] // ROWS)
        pen.text((left + 2, top + 2), name, fill="black", font=font)
        for column, pixels in enumerate(draws(name, 2)[0]):
            tile = to_image(pixels)
            filter = Image.Resampling.NEAREST if tile.width == SMALL else Image.Resampling.LANCZOS
            sheet.paste(tile.resize((SIDE, SIDE), filter), (left + 1 + column * (SIDE + 2), top + LABEL + 4))
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
    picture().save(PICTURES / "augmentation.jpg", quality=82, optimize=True)
