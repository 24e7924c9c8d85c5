"""The time of runs, against bare PyTorch loops.

python benchmarks/spine.py lenet | resnet18 | host    [--rounds 5] [--device cuda]

`lenet` reads MNIST (from LINEAGE_DATA, or data/); the others need no data.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from harness import command, compare, completed, own_seconds, synchronise
from pytorch_lightning.callbacks import Callback, Timer
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from lineage import assemble
from lineage.archs.resnet import ResNet
from lineage.datamodules.images import TensorImages
from lineage.datamodules.sets.cifar import CIFAR10
from lineage.reporting.clock import Clock
from lineage.reporting.metric_rows import MetricRows
from lineage.reporting.progress_bar import RunProgressBar
from lineage.running.checkpoints import Checkpoints
from lineage.running.ranks import Ranks
from lineage.running.stopping import Stop


def trainer_of(device: str) -> str:
    """The word of a command that trains on a device."""
    return {"cpu": "trainer=cpu", "cuda": "trainer=gpu"}.get(device, "trainer=auto")


def build(*words: str, everything: bool = True, network: Any = None) -> tuple[Any, Any, Any]:
    """Trainer, module and data of a command, with all the callbacks and loggers of a run, or with none.

    Args:
        network: of an earlier call, to be given its first weights and used again; None: a new one.
    """
    folder = Path(tempfile.mkdtemp())
    cfg = completed(*words, f"runs={folder}", "run=run")
    callbacks: list[Any] = []
    if everything:
        console, clock = Console(quiet=True, force_terminal=True), Clock()
        stop, rows = Stop(None, 60, console, "run"), MetricRows(console, clock)
        saving = Checkpoints(folder / "run" / "checkpoints", cfg.trainer.checkpoint_minutes, 0, {})
        callbacks = [Ranks(60), clock, stop, RunProgressBar(console, clock), rows, saving]
        (folder / "run").mkdir()
    fresh = assemble.network(cfg)
    if network is None:
        network = fresh
    else:
        network.load_state_dict(fresh.state_dict())
    trainer = assemble.trainer(cfg, network, loggers=everything, callbacks=callbacks)
    data = assemble.data(cfg)
    return trainer, assemble.classifier(cfg, network, data, trainer), data


def fit_seconds(*words: str, everything: bool = True) -> float:
    """From the first step to the end of the last epoch: training, validation, metrics, logging and checkpoint."""
    trainer, classifier, datamodule = build(*words, everything=everything)
    timer = Timer()
    trainer.callbacks.append(timer)
    trainer.fit(classifier, datamodule=datamodule)
    return timer.time_elapsed("train")


def bare_epochs(device: str, *words: str) -> float:
    """The same in a bare loop on the same tensors: gather, normalise, forward, backward, step; then validation."""
    _, classifier, datamodule = build(*words, everything=False)
    network, settings = classifier.network, classifier.recipe
    network.to(device).to(memory_format=torch.contiguous_format)
    parts = (datamodule.train, datamodule.val)
    train, val = ((part[torch.arange(len(part))].to(device), part.labels.to(device)) for part in parts)
    mean, std = datamodule.mean[0], datamodule.std[0]
    options = {"momentum": settings.momentum, "weight_decay": settings.weight_decay, "fused": True}
    optimizer = torch.optim.SGD(network.parameters(), settings.lr, **options)
    size = settings.batch_size
    began = time.perf_counter()
    for _ in range(settings.epochs):
        order = torch.randperm(len(train[1]), device=device)
        for first in range(0, len(order) - size + 1, size):
            index = order[first : first + size]
            images = train[0][index].float().div_(255).sub_(mean).div_(std)
            loss = F.cross_entropy(network(images), train[1][index])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            for images, labels in zip(val[0].split(256), val[1].split(256), strict=True):
                logits = network(images.float().div_(255).sub_(mean).div_(std))
                (logits.argmax(1) == labels).sum().item()
    synchronise()
    return time.perf_counter() - began


LENET = ("experiment=lenet5_mnist", "recipe.epochs=1", "recipe.decay_epochs=[1]")


def lenet(rounds: int, device: str) -> None:
    """LeNet-5 on MNIST, batch 128, one epoch with validation: a run with progress, metrics files, TensorBoard and
    checkpoints, against one with none of them, and against a bare loop."""
    words = (*LENET, trainer_of(device))
    ours, silent = (partial(fit_seconds, *words, everything=chosen) for chosen in (True, False))
    compare(rounds, own_seconds, warm_up=False, lineage=ours, silent=silent, bare=partial(bare_epochs, device, *words))


def resnet18(rounds: int, device: str) -> None:
    """ResNet-18 with the CIFAR stem, 32x32, batch 64: a step of ours, of a plain fp32 loop, of a hand-tuned one."""
    steps, size = 6, 64
    images = torch.randint(0, 256, (size * steps, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(size * steps) % 10

    def loop(tuned: bool) -> float:
        network = ResNet("basic", [2, 2, 2, 2], num_classes=10, stem="cifar")
        layout = torch.channels_last if tuned else torch.contiguous_format
        network.to(device).to(memory_format=layout)
        optimizer = torch.optim.SGD(network.parameters(), 0.02, 0.9, weight_decay=5e-4, fused=tuned)
        seconds = []
        for batch, targets in zip(images.to(device).split(size), labels.to(device).split(size), strict=True):
            synchronise()
            began = time.perf_counter()
            pixels = batch.float().div(255).sub(0.5).div(0.25).contiguous(memory_format=layout)
            with torch.autocast(device, torch.bfloat16, enabled=tuned):
                logits = network(pixels)
            F.cross_entropy(logits.float(), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            synchronise()
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds[1:])

    def ours() -> float:
        words = f"{trainer_of(device)} arch=resnet18 datamodule=cifar10 datamodule.val_size=0"
        words += f" trainer.limit_val_batches=0 recipe.epochs=1 recipe.batch_size={size} recipe.decay_epochs=[1]"
        seconds: list[float] = []

        class Steps(Callback):
            def on_train_batch_start(self, *_):
                synchronise()
                self.began = time.perf_counter()

            def on_train_batch_end(self, *_):
                synchronise()
                seconds.append(time.perf_counter() - self.began)

        data = TensorImages(images, labels)
        CIFAR10.read = lambda self, share: (data, data)  # type: ignore[method-assign]
        trainer, classifier, datamodule = build(*words.split())
        trainer.callbacks.append(Steps())
        trainer.fit(classifier, datamodule=datamodule)
        return statistics.median(seconds[1:])

    tuned, plain = partial(loop, True), partial(loop, False)
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
    steps, size = 300, 4
    images = torch.randint(0, 256, (size * steps, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(size * steps) % 10
    data = TensorImages(images, labels)
    off = "warmup_epochs=0 warmup_lr=0 after_warmup=false lookahead=0 lookahead_steps=0 whiten_bias_epochs=0"
    words = ["arch=airbench", "arch.variant=2024", "recipe=speedrun_2024", "recipe.epochs=1", trainer_of(device)]
    words += ["datamodule=cifar10", "datamodule.val_size=0", "trainer.limit_val_batches=0", f"recipe.batch_size={size}"]
    words += [f"recipe.{word}" for word in off.split()]

    def ours(everything: bool) -> float:
        CIFAR10.read = lambda self, share: (data, data)  # type: ignore[method-assign]
        with patch.object(assemble, "network", lambda cfg: Nothing()):
            trainer, classifier, datamodule = build(*words, everything=everything)
        timer = Timer()
        trainer.callbacks.append(timer)
        trainer.fit(classifier, datamodule=datamodule)
        return timer.time_elapsed("train")

    def loop() -> float:
        network, pixels, targets = Nothing().to(device), images.to(device).float(), labels.to(device)
        optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.85, nesterov=True, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        began = time.perf_counter()
        for index in torch.randperm(len(pixels), device=device).split(size):
            loss = F.cross_entropy(network(pixels[index]), targets[index], label_smoothing=0.2, reduction="none").sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        synchronise()
        return time.perf_counter() - began

    compare(rounds, own_seconds, lineage=partial(ours, True), silent=partial(ours, False), airbench94=loop)


if __name__ == "__main__":
    command(__doc__, lenet, resnet18, host, rounds=5, threads=None)
