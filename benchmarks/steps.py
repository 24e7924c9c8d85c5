"""The time of LAMB against timm's, and of an evaluation that keeps freed memory.

python benchmarks/steps.py lamb | memory    [--rounds 9]

`lamb` takes --device cuda.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import timm.optim
import torch
from harness import command, compare, own_seconds
from loops import recipe

from lineage.archs import catalogue
from lineage.recipes.optim.optimizers import build_optimizer, parameter_groups
from lineage.running.allocator import keep_freed_memory


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
    command(__doc__, lamb, memory, rounds=9)
