"""The time and memory that a recipe adds to a training step: python benchmarks/steps.py

python benchmarks/steps.py ingredients | average | memory    [--rounds 9]
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

from harness import MEAN, ROOT, STD, command, compare, own_seconds, recipe


def ingredients(rounds: int) -> None:
    """Forward and backward pass of ResNet-50, 16 images of 64 px: RSB A2's mixing, targets and loss, against none."""
    import torch

    from lineage.archs import catalogue
    from lineage.datamodules.loading.loader import first_repetitions
    from lineage.recipes.augment.device import DeviceAugmentation
    from lineage.recipes.micro_batch import MicroBatchKey, micro_batch_loss

    images, labels = torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8), torch.arange(16)
    steps = {}
    for name, chosen in {"rsb_a2": recipe("rsb_a2"), "pytorch": recipe("pytorch", color_jitter=0.0)}.items():
        torch.manual_seed(0)
        network = catalogue.build("resnet50", 1000, 3, resolution=224)
        augment = DeviceAugmentation(chosen, seed=0, mean=MEAN, std=STD, crop_here=False)

        def step(network: Any, chosen: Any, augment: Any) -> None:
            loss, _ = micro_batch_loss(
                network, chosen, augment, images, labels, first_repetitions(labels), num_classes=1000,
                key=MicroBatchKey(0, 1, 0), memory_format=torch.contiguous_format,
            )  # fmt: skip
            loss.backward()

        steps[name] = partial(step, network, chosen, augment)
    compare(rounds, **steps)


def average(rounds: int) -> None:
    """100 updates of ResNet-20's exponential average, against one step of 128 images."""
    import torch
    from torch.nn import functional as F

    from lineage.archs import catalogue
    from lineage.recipes.optim.averaging import Average

    network, wrn = catalogue.build("resnet_cifar", 10, 3), recipe("wrn", ema=0.999)
    follower, images, labels = Average(wrn, network), torch.randn(128, 3, 32, 32), torch.arange(128) % 10

    def updates() -> None:
        for step in range(100):
            follower.after_step(network, step, 391)

    def resnet20_step() -> None:
        F.cross_entropy(network(images), labels).backward()

    compare(rounds, updates=updates, resnet20_step=resnet20_step)


EVALUATION = """
import sys, time, torch, timm
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
if {keep}:
    from lineage.running.allocator import keep_freed_memory
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
    """Evaluation of EfficientNet-Lite0, 32 images of 224 px, in its own process: freed memory kept, or given back."""

    def evaluation(keep: bool) -> float:
        code = EVALUATION.format(root=str(ROOT), keep=keep)
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    kept, given_back = partial(evaluation, True), partial(evaluation, False)
    compare(max(rounds // 3, 3), own_seconds, warm_up=False, kept=kept, given_back=given_back)


if __name__ == "__main__":
    command(__doc__, ingredients, average, memory, rounds=9)
