"""The time of augmentation, against libraries that do the same.

python benchmarks/recipes.py erasing | mixing | draws    [--rounds 9]
"""

from __future__ import annotations

from functools import partial
from typing import Any

from harness import MEAN, STD, command, compare, recipe


def erasing(rounds: int) -> None:
    """Random erasing of 256 images of 224x224 by noise, with probability 0.25, against timm's."""
    import torch
    from timm.data.random_erasing import RandomErasing

    from lineage.datamodules.loading.loader import first_repetitions
    from lineage.recipes.augment.erasing import erase, erasing_draws
    from lineage.recipes.augment.randomness import ImageDraws, normal_quantiles

    pixels, keys, quantiles = torch.randn(256, 3, 224, 224), first_repetitions(torch.arange(256)), normal_quantiles()

    def ours(rsb_a2: Any, draw: ImageDraws) -> None:
        erase(rsb_a2, draw(keys), pixels, quantiles)

    for mode, theirs in (("pixel", "pixel"), ("constant", "const")):
        rsb_a2 = recipe("rsb_a2", erasing_prob=0.25, erasing_mode=mode)
        draw, other = ImageDraws(0, erasing_draws(rsb_a2)), RandomErasing(0.25, mode=theirs, device="cpu")
        print(f" {mode}")
        compare(rounds, lineage=partial(ours, rsb_a2, draw), timm=partial(other, pixels))


def mixing(rounds: int) -> None:
    """Mixup or CutMix and targets of 20 x 128 images of 32x32, against timm's and against one ResNet-20 step of 128."""
    import torch
    from timm.data.mixup import Mixup
    from torch.nn import functional as F

    from lineage.archs.resnet import resnet_cifar
    from lineage.recipes.mixing import draw_mix, mix_images, soft_targets

    rsb_a2 = recipe("rsb_a2")
    images, labels = torch.randn(128, 3, 32, 32), torch.arange(128) % 10
    network = resnet_cifar(20, num_classes=10, shortcut="A", stem="cifar")
    mixup = Mixup(0.1, 1.0, label_smoothing=0.0, num_classes=10)

    def ours() -> None:
        for step in range(20):
            mix = draw_mix(rsb_a2, 32, 32, 0, step)
            assert mix is not None
            mix_images(images, mix)
            soft_targets(rsb_a2, labels, 10, mix)

    def timm() -> None:
        for _ in range(20):
            mixup(images, labels)

    def resnet20_step() -> None:
        F.cross_entropy(network(images), labels).backward()

    compare(rounds, lineage=ours, timm=timm, resnet20_step=resnet20_step)


def draws(rounds: int) -> None:
    """All random numbers for 512 images of CIFAR, against normalising them."""
    import torch

    from lineage.datamodules.loading.loader import first_repetitions
    from lineage.recipes.augment.device import Normalise
    from lineage.recipes.augment.geometry import crop_and_flip_draws

    draw, normalise = crop_and_flip_draws(recipe("wrn"), 0), Normalise(MEAN, STD)
    images, keys = torch.randint(0, 256, (512, 3, 32, 32), dtype=torch.uint8), first_repetitions(torch.arange(512))
    compare(rounds, draws=partial(draw, keys), normalise=partial(normalise, images))


if __name__ == "__main__":
    command(__doc__, erasing, mixing, draws, rounds=9)
