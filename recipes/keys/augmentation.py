"""Augmentation of the training images."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from lineage.recipes.keys.values import Share

Crop = Annotated[str, Literal["none", "pad", "rrc", "scale_jitter"]]
PaddingMode = Annotated[str, Literal["none", "zero", "mean", "reflect"]]
Interpolation = Annotated[str, Literal["bilinear", "bicubic", "area"]]
Strength = Annotated[float, "0 <= x <= 10"]
MixAlpha = Annotated[float, "0 <= x <= 1000"]
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
