"""The time of runs against bare PyTorch loops, and of an evaluation that keeps freed memory.

python benchmarks/spine.py lenet | resnet18 | memory    [--rounds 5]

`lenet` reads MNIST (from LINEAGE_DATA, or data/); the others need no data. A GPU has its own: gpu.py.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import timm
import torch
from harness import command, compare, cpu_seconds, own_seconds
from loops import bare_seconds, random_images, run_seconds, steps

from lineage.running.allocator import keep_freed_memory


def lenet(rounds: int) -> None:
    """LeNet-5 on MNIST, batch 128, one epoch with validation: a run with progress, metrics files, TensorBoard and
    checkpoints, against one with none of them, and against a bare loop."""
    words = ["experiment=lenet5_mnist", "recipe.epochs=1", "recipe.decay_epochs=[1]", "trainer=cpu"]
    ours, silent = (partial(run_seconds, words, everything=chosen) for chosen in (True, False))
    sgd = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=5e-4, fused=True)
    bare = partial(bare_seconds, words, sgd, validate=True)
    compare(rounds, own_seconds, warm_up=False, lineage=ours, silent=silent, bare=bare)


def resnet18(rounds: int) -> None:
    """ResNet-18 with the CIFAR stem, 32x32, batch 64: five steps of ours, of a plain fp32 loop, of a hand-tuned one."""
    words = ["arch=resnet18", *random_images(32, 10, 384), "recipe.batch_size=64", *steps(6), "trainer=cpu"]
    sgd = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=5e-4)
    tuned, plain = (partial(bare_seconds, words, partial(sgd, fused=t), 1, bf16=t) for t in (True, False))
    ours = partial(run_seconds, words, 1, everything=True)
    compare(rounds, own_seconds, warm_up=False, lineage=ours, tuned=tuned, plain_fp32=plain)


def evaluation_seconds(keep: bool) -> float:
    """CPU seconds of two batches of EfficientNet-Lite0; freed memory is kept from here on, or not."""
    torch.set_num_threads(1)
    assert not keep or keep_freed_memory()
    network = timm.create_model("tf_efficientnet_lite0").eval().to(memory_format=torch.channels_last)
    images = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(images)
        return cpu_seconds(lambda: (network(images), network(images)))


def memory(rounds: int) -> None:
    """Evaluation of EfficientNet-Lite0, 32 images of 224 px, in its own process: freed memory kept, or given back."""

    def in_own_process(keep: bool) -> float:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(evaluation_seconds, keep).result()

    kept, given_back = partial(in_own_process, True), partial(in_own_process, False)
    compare(rounds, own_seconds, warm_up=False, kept=kept, given_back=given_back)


if __name__ == "__main__":
    command(__doc__, lenet, resnet18, memory, rounds=5, threads=None)
