"""Augmentation of the training images."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from lineage.recipes.keys.values import Share

Crop = Annotated[str, Literal["none", "pad", "rrc", "scale_jitter"]]
PaddingMode = Annotated[str, Literal["none", "zero", "mean", "reflect"]]
Interpolation = Annotated[str, Literal["bilinear", "bicubic", "area"]]
Strength = Annotated[float, "0 <= x <= 10"]
MixAlpha = Annotated[float, "0 <= x <= 1000"]
AUTO_AUGMENTS = ("original", "originalr", "v0", "v0r", "3a")  # timm's policies
RAND_AUGMENT_SETS = ("tweights", "t3a", "t3aw")  # and its subsets of operations
ErasingMode = Annotated[str, Literal["pixel", "constant"]]
Partner = Annotated[str, Literal["reversed", "random", "rolled"]]
MixPer = Annotated[str, Literal["step", "chunk"]]


@dataclass(kw_only=True)
class Augmentation:
    hflip: Share = 0.0  # probability; off where the data set says mirror: false
    hflip_alternating: bool = False  # drawn in the first epoch, then in turn (airbench, arXiv 2404.00498, section 3.3)
    crop: Crop = "none"  # pad: shift in a padded border; rrc: random resized crop; scale_jitter: He et al.'s
    crop_padding: Annotated[int, "0 <= x <= 4096"] = 0  # pad: border in pixels
    crop_padding_mode: PaddingMode = "none"  # zero: black; mean: zero once normalised; reflect
    # rrc: least and greatest share of the area; scale_jitter: of the short side, in pixels
    crop_scale: list[Annotated[float, "0 < x <= 8192"]] = field(default_factory=list)
    crop_ratio: list[Annotated[float, "0 < x <= 100"]] = field(default_factory=list)  # rrc: range of width / height
    interpolation: Interpolation  # of every resize; area: a box filter, for speed
    rand_augment: str = ""  # timm's notation: rand-m7-mstd0.5-inc1
    auto_augment: str = ""  # timm's notation: original, v0
    trivial_augment: bool = False  # TrivialAugmentWide, arXiv 2103.10158, as torchvision's
    color_jitter: Strength = 0.0  # of brightness, contrast and saturation, in random order
    pca_lighting: Strength = 0.0  # sigma along the principal colours (Krizhevsky et al. 2012)
    erasing_prob: Share = 0.0  # random erasing of a box, per image (arXiv 1708.04896)
    erasing_mode: ErasingMode  # pixel: normal noise (timm); constant: the mean (torchvision)
    cutout: Annotated[int, "0 <= x <= 8192"] = 0  # side in pixels of a square that is the mean (arXiv 1708.04552)
    mixup_alpha: MixAlpha = 0.0  # of the Beta distribution that an image's share is drawn from (arXiv 1710.09412)
    cutmix_alpha: MixAlpha = 0.0  # the same for a box (arXiv 1905.04899); beside mixup: one of the two, by equal chance
    mix_partner: Partner  # reversed: the mirrored position in the batch (timm); rolled: torchvision
    mix_per: MixPer  # one draw a step, or one for each micro-batch of a device

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, by mixup or CutMix."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    def notation_problems(self) -> Iterator[str]:
        """What is wrong with the policies in timm's notation."""
        for name, problems in (("rand_augment", _rand_problems), ("auto_augment", _auto_problems)):
            if notation := getattr(self, name):
                yield from (f"{name}={notation}: {wrong}" for wrong in problems(notation))


def _auto_problems(notation: str) -> Iterator[str]:
    """timm's notation, v0 or v0-mstd0.5; timm itself skips a word without a number."""
    name, *words = notation.split("-")
    if name not in AUTO_AUGMENTS:
        yield f"it is one of {', '.join(AUTO_AUGMENTS)}."
    for word in words:
        if not re.fullmatch(r"mstd\d+(\.\d+)?", word):
            yield f"{word} is not mstd and a number, {name}-mstd0.5."


def _rand_problems(notation: str) -> Iterator[str]:
    """timm's notation, rand-m7-mstd0.5-inc1; timm itself skips a word that it does not know."""
    name, *words = notation.split("-")
    if name != "rand":
        yield "it begins with rand, as rand-m7-mstd0.5-inc1 does."
    kinds = [re.sub(r"[\d.]+$", "", word) for word in words]
    for word, kind in zip(words, kinds, strict=True):
        numbered = re.fullmatch(r"(mstd|mmax|m|n|p|inc)(\d+(\.\d+)?)", word)
        if not numbered and word not in RAND_AUGMENT_SETS:
            yield (
                f"{word} is not one of m (magnitude), n (operations), mstd, mmax, p, inc, each with its number, "
                f"{', '.join(RAND_AUGMENT_SETS)}."
            )
        number = float(numbered[2]) if numbered else 0.0
        if kind == "m" and number > 30:
            yield "magnitudes go to 10, or somewhat above."
        if kinds.count(kind) > 1:
            yield f"{kind} stands there twice."
        if word == "n0":
            yield "n0 applies no operation; to turn RandAugment off set recipe.rand_augment=."
        if kind == "p" and number > 1:
            yield f"{word} is a probability, at most 1."
