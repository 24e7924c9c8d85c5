"""What the procedures cost, beside the libraries that do the same: python benchmarks/recipes.py

    python benchmarks/recipes.py erasing | mixing | draws    [--rounds 9]

The two sides take turns on one thread; the medians of the pairs' ratios hold where single times drift.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.sides import ROOT, command, compare, seconds

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def recipe_of(name: str, **changes: Any) -> Any:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from lineage.config import schema  # noqa: F401

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        recipe: Any = OmegaConf.to_object(compose("train", [f"recipe={name}"]).recipe)
    for key, value in changes.items():
        setattr(recipe, key, value)
    return recipe


def make_keys(count: int) -> Any:
    import torch

    samples = torch.arange(count)
    return torch.stack((samples, samples, samples), dim=1)


def erasing(rounds: int) -> None:
    """Random erasing of 256 images of 224x224 by noise, with probability 0.25, against timm's."""
    import torch
    from timm.data.random_erasing import RandomErasing

    from lineage.recipes.augment.erasing import erase, erasing_draws
    from lineage.recipes.augment.randomness import ImageDraws, normal_quantiles

    pixels, sample_keys, quantiles = torch.randn(256, 3, 224, 224), make_keys(256), normal_quantiles()

    def erased(recipe: Any, draw: ImageDraws) -> None:
        erase(recipe, draw(sample_keys), pixels, quantiles)

    for mode, theirs in (("pixel", "pixel"), ("constant", "const")):
        recipe = recipe_of("rsb_a2", erasing_prob=0.25, erasing_mode=mode)
        draw, other = ImageDraws(0, erasing_draws(recipe)), RandomErasing(0.25, mode=theirs, device="cpu")
        print(f" {mode}")
        sides = partial(erased, recipe, draw), partial(other, pixels)
        compare(rounds, lineage=partial(seconds, sides[0]), timm=partial(seconds, sides[1]))


def mixing(rounds: int) -> None:
    """Mixup or CutMix and targets of 20 x 128 images of 32x32, against timm's and against one ResNet-20 step of 128."""
    import torch
    from timm.data.mixup import Mixup
    from torch.nn import functional as F

    from lineage.archs.resnet import resnet_cifar
    from lineage.recipes.mixing import draw_mix, mix_images, soft_targets

    recipe = recipe_of("rsb_a2")
    images, labels = torch.randn(128, 3, 32, 32), torch.arange(128) % 10
    network = resnet_cifar(20, num_classes=10, shortcut="A", stem="cifar")
    theirs = Mixup(0.1, 1.0, label_smoothing=0.0, num_classes=10)

    def ours() -> None:
        for step in range(20):
            mix = draw_mix(recipe, 32, 32, 0, step)
            assert mix is not None
            mix_images(images, mix)
            soft_targets(recipe, labels, 10, mix)

    def timms() -> None:
        for _ in range(20):
            theirs(images, labels)

    compare(
        rounds,
        lineage=lambda: seconds(ours),
        timm=lambda: seconds(timms),
        resnet20_step=lambda: seconds(lambda: F.cross_entropy(network(images), labels).backward()),
    )


def draws(rounds: int) -> None:
    """All that is drawn of 512 images of CIFAR, against normalising them."""
    import torch

    from lineage.recipes.augment.device import Normalise
    from lineage.recipes.augment.geometry import crop_and_flip_draws

    draw, normalise = crop_and_flip_draws(recipe_of("wrn"), 0), Normalise(MEAN, STD)
    images, sample_keys = torch.randint(0, 256, (512, 3, 32, 32), dtype=torch.uint8), make_keys(512)
    compare(
        rounds, draws=lambda: seconds(lambda: draw(sample_keys)), normalise=lambda: seconds(lambda: normalise(images))
    )


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    command(__doc__, erasing, mixing, draws, rounds=9)
