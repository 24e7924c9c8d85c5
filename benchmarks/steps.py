"""What a procedure adds to a step: python benchmarks/steps.py

    python benchmarks/steps.py ingredients | average | memory    [--rounds 9]

The sides take turns on one thread; the medians of the pairs' ratios hold where single times drift.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.recipes import MEAN, STD, make_keys, recipe_of
from benchmarks.sides import ROOT, command, compare, seconds


def ingredients(rounds: int) -> None:
    """Forward and backward pass of ResNet-50, 16 images of 64 px: RSB A2's mixing, targets and loss, against none."""
    import torch

    from lineage.archs import catalogue
    from lineage.recipes.augment.device import DeviceAugmentation
    from lineage.recipes.micro_batch import MicroBatchKey, micro_batch_loss

    images, labels = torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8), torch.arange(16)
    sides = {}
    for name, recipe in {"rsb_a2": recipe_of("rsb_a2"), "pytorch": recipe_of("pytorch", color_jitter=0.0)}.items():
        torch.manual_seed(0)
        network = catalogue.build("resnet50", 1000, 3, resolution=224)
        augment = DeviceAugmentation(recipe, seed=0, mean=MEAN, std=STD, crop_here=False)

        def step(network: Any, recipe: Any, augment: Any) -> None:
            found = micro_batch_loss(
                network, recipe, augment, images, labels, make_keys(16), num_classes=1000, key=MicroBatchKey(0, 1, 0),
                memory_format=torch.contiguous_format,
            )  # fmt: skip
            found.loss.backward()

        sides[name] = partial(seconds, partial(step, network, recipe, augment))
    compare(rounds, **sides)


def average(rounds: int) -> None:
    """100 updates of ResNet-20's exponential average, against one step of 128 images."""
    import torch
    from torch.nn import functional as F

    from lineage.archs import catalogue
    from lineage.recipes.optim.averaging import Average

    network, recipe = catalogue.build("resnet_cifar", 10, 3), recipe_of("wrn", ema=0.999)
    follower, images, labels = Average(recipe, network), torch.randn(128, 3, 32, 32), torch.arange(128) % 10

    def updates() -> None:
        for step in range(100):
            follower.after_step(network, step, 391)

    def step() -> None:
        F.cross_entropy(network(images), labels).backward()

    compare(rounds, updates=partial(seconds, updates), resnet20_step=partial(seconds, step))


EVALUATION = """
import sys, time, torch, timm
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
if {keep}:
    from running.allocator import keep_freed_memory
    assert keep_freed_memory()
network = timm.create_model("tf_efficientnet_lite0").eval().to(memory_format=torch.channels_last)
images = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
with torch.inference_mode():
    network(images)
    began = time.process_time()
    network(images), network(images)
    print(time.process_time() - began)
"""


def memory(rounds: int) -> None:
    """Evaluation of EfficientNet-Lite0, 32 images of 224 px, in processes of their own: freed memory kept, and not."""

    def evaluated(keep: bool) -> float:
        code = EVALUATION.format(root=str(ROOT), keep=keep)
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    compare(max(rounds // 3, 3), kept=partial(evaluated, True), given_back=partial(evaluated, False))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    command(__doc__, ingredients, average, memory, rounds=9)
