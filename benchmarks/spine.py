"""The time of runs, against bare PyTorch loops.

python benchmarks/spine.py lenet | resnet18 | host    [--rounds 5] [--device cuda]

`lenet` reads MNIST (from LINEAGE_DATA, or data/); the others need no data.
"""

import time
from functools import partial
from unittest.mock import patch

import torch
from harness import TRAINERS, command, compare, own_seconds, synchronise
from loops import assemble, bare_seconds, random_images, run_seconds, steps
from torch import nn
from torch.nn import functional as F


def lenet(rounds: int, device: str) -> None:
    """LeNet-5 on MNIST, batch 128, one epoch with validation: a run with progress, metrics files, TensorBoard and
    checkpoints, against one with none of them, and against a bare loop."""
    words = ["experiment=lenet5_mnist", "recipe.epochs=1", "recipe.decay_epochs=[1]", TRAINERS[device]]
    ours, silent = (partial(run_seconds, words, everything=chosen) for chosen in (True, False))
    sgd = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=5e-4, fused=True)
    bare = partial(bare_seconds, words, sgd, validate=True)
    compare(rounds, own_seconds, warm_up=False, lineage=ours, silent=silent, bare=bare)


def resnet18(rounds: int, device: str) -> None:
    """ResNet-18 with the CIFAR stem, 32x32, batch 64: five steps of ours, of a plain fp32 loop, of a hand-tuned one."""
    words = ["arch=resnet18", *random_images(32, 10, 384), "recipe.batch_size=64", *steps(6), TRAINERS[device]]
    sgd = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=5e-4)
    tuned, plain = (partial(bare_seconds, words, partial(sgd, fused=t), 1, bf16=t) for t in (True, False))
    ours = partial(run_seconds, words, 1, everything=True)
    compare(rounds, own_seconds, warm_up=False, lineage=ours, tuned=tuned, plain_fp32=plain)


class Nothing(nn.Module):
    """Logits (B, 10) that do not depend on the images."""

    min_size, notes = 1, ()

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(images), 10)


def host(rounds: int, device: str) -> None:
    """300 steps of 4 images of a network that computes nothing: what the host does in speedrun_2024, with all that a
    run has, with none of it, and in a loop as airbench94's, which augments an epoch at once, before."""
    count, size = 300, 4
    off = "warmup_epochs=0 warmup_lr=0 after_warmup=false lookahead=0 lookahead_steps=0 whiten_bias_epochs=0"
    words = ["arch=airbench", "arch.variant=2024", "recipe=speedrun_2024", "recipe.epochs=1", TRAINERS[device]]
    words += [*random_images(32, 10, size * count), *steps(count), f"recipe.batch_size={size}"]
    words += [f"recipe.{word}" for word in off.split()]

    def loop() -> float:
        network, pixels = Nothing().to(device), torch.rand(size * count, 3, 32, 32, device=device)
        targets = torch.arange(len(pixels), device=device) % 10
        optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.85, nesterov=True, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / count)
        began = time.perf_counter()
        for index in torch.randperm(len(pixels), device=device).split(size):
            loss = F.cross_entropy(network(pixels[index]), targets[index], label_smoothing=0.2, reduction="none").sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        synchronise()
        return time.perf_counter() - began

    ours, silent = (partial(run_seconds, words, everything=chosen) for chosen in (True, False))
    with patch.object(assemble, "network", lambda cfg: Nothing()):
        compare(rounds, own_seconds, lineage=ours, silent=silent, airbench94=loop)


if __name__ == "__main__":
    command(__doc__, lenet, resnet18, host, rounds=5, threads=None)
