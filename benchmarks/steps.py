"""The time and memory of parts of a training step, against none or against a library's equal ones.

python benchmarks/steps.py ingredients | lamb | erasing | memory    [--rounds 9]

All but `memory` take --device cuda.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import timm.optim
import torch
from harness import command, compare, own_seconds
from loops import MEAN, STD, recipe
from timm.data.random_erasing import RandomErasing

from lineage.archs import catalogue
from lineage.datamodules.loading.loader import first_repetitions
from lineage.recipes.augment.device import DeviceAugmentation
from lineage.recipes.augment.erasing import erase, erasing_draws
from lineage.recipes.augment.randomness import ImageDraws, normal_quantiles
from lineage.recipes.micro_batch import MicroBatchKey, micro_batch_input, micro_batch_loss
from lineage.recipes.optim.optimizers import build_optimizer, parameter_groups
from lineage.running.allocator import keep_freed_memory


def ingredients(rounds: int, device: str) -> None:
    """Forward and backward pass of ResNet-50, 16 images of 64 px: RSB A2's mixing, targets and loss, against none."""
    images = torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8, device=device)
    labels = torch.arange(16, device=device)
    key = MicroBatchKey(0, 1, 0)

    def step(network: Any, chosen: Any, augment: Any) -> None:
        keys = first_repetitions(labels)
        options: dict[str, Any] = {"epoch": 0, "key": key, "memory_format": torch.contiguous_format}
        pixels, targets = micro_batch_input(chosen, augment, images, labels, keys, num_classes=1000, **options)
        micro_batch_loss(network, chosen, None, pixels, labels, targets)[0].backward()

    steps = {}
    for name, chosen in {"rsb_a2": recipe("rsb_a2"), "pytorch": recipe("pytorch", color_jitter=0.0)}.items():
        network = catalogue.build("resnet50").to(device)
        augment = DeviceAugmentation(chosen, seed=0, mean=MEAN, std=STD, crop_here=False).to(device)
        steps[name] = partial(step, network, chosen, augment)
    compare(rounds, **steps)


def lamb(rounds: int, device: str) -> None:
    """RSB A2's LAMB on ResNet-50 against timm's, one tensor at a time (its default on a CPU) and foreach."""
    rsb_a2, networks = recipe("rsb_a2"), [catalogue.build("resnet50").to(device) for _ in range(3)]
    for parameter in (parameter for network in networks for parameter in network.parameters()):
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    steps = {"lineage": build_optimizer(rsb_a2, networks[0]).step}
    for network, name in zip(networks[1:], ("timm", "timm_foreach"), strict=True):
        options: Any = {"max_grad_norm": 1.0, "foreach": name == "timm_foreach"}
        steps[name] = timm.optim.Lamb(parameter_groups(network, rsb_a2), rsb_a2.lr, **options).step
    compare(rounds, **steps)


def erasing(rounds: int, device: str) -> None:
    """Random erasing of 256 images of 224x224 by noise, with probability 0.25, against timm's."""
    pixels, keys = torch.randn(256, 3, 224, 224, device=device), first_repetitions(torch.arange(256, device=device))
    quantiles = normal_quantiles().to(device)

    def ours(rsb_a2: Any, draw: ImageDraws) -> None:
        erase(rsb_a2, draw(keys), pixels, quantiles)

    for mode, theirs in (("pixel", "pixel"), ("constant", "const")):
        rsb_a2 = recipe("rsb_a2", erasing_prob=0.25, erasing_mode=mode)
        draw = ImageDraws(0, erasing_draws(rsb_a2)).to(device)
        other = RandomErasing(0.25, mode=theirs, device=device)
        print(f" {mode}")
        compare(rounds, lineage=partial(ours, rsb_a2, draw), timm=partial(other, pixels))


def evaluation_seconds(keep: bool) -> float:
    """CPU seconds of two batches of EfficientNet-Lite0; freed memory is kept from here on, or not."""
    torch.set_num_threads(1)
    assert not keep or keep_freed_memory()
    network = timm.create_model("tf_efficientnet_lite0").eval().to(memory_format=torch.channels_last)
    images = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(images)
        began = time.process_time()
        network(images), network(images)
    return time.process_time() - began


def memory(rounds: int) -> None:
    """Evaluation of EfficientNet-Lite0, 32 images of 224 px, in its own process: freed memory kept, or given back."""

    def in_own_process(keep: bool) -> float:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(evaluation_seconds, keep).result()

    kept, given_back = partial(in_own_process, True), partial(in_own_process, False)
    compare(rounds, own_seconds, warm_up=False, kept=kept, given_back=given_back)


if __name__ == "__main__":
    command(__doc__, ingredients, lamb, erasing, memory, rounds=9)
