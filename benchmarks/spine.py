"""Ratios of this project to bare PyTorch loops, measured side by side in one process: python benchmarks/spine.py

Times on a shared machine drift, so the two sides take turns and the median of the pairs' ratios is printed.

    python benchmarks/spine.py startup | lenet | resnet18 | preparation | logging    [--rounds 5]

`lenet` and `logging` read MNIST (LINEAGE_DATA, or data/); the others need no data.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.sides import ROOT, command, compare


def wall(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def startup(rounds: int) -> None:
    """--help against importing torch, and a whole default run."""
    compare(
        rounds,
        help=lambda: wall(sys.executable, "train.py", "--help"),
        import_torch=lambda: wall(sys.executable, "-c", "import torch"),
    )
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(ROOT / "train.py"), f"runs={folder}", "run=run"]
        began = time.time()
        subprocess.run(words, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        whole = time.time() - began
        log = next(Path(folder).rglob("train.log"))
        first_step = time.mktime(time.strptime(log.read_text()[:19], "%Y-%m-%d %H:%M:%S")) + 1 - began
    print(f"  python train.py: {whole:.1f} s, of which at most {first_step:.1f} s before the first step")


def built(*words: str, everything: bool = True):
    """A trainer, module and data of a command line, with all the callbacks and loggers of a run, or none of them."""
    from hydra import compose, initialize_config_dir
    from rich.console import Console

    from lineage import assemble
    from lineage.config import schema  # noqa: F401
    from lineage.reporting.clock import Clock
    from lineage.reporting.metric_rows import MetricRows
    from lineage.reporting.progress_bar import RunProgressBar
    from lineage.running.checkpoints import Checkpoints
    from lineage.running.ranks import Ranks
    from lineage.running.stopping import Stop

    folder = Path(tempfile.mkdtemp())
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [*words, f"runs={folder}", "run=run"])
    callbacks: list[Any] = []
    if everything:
        console, clock = Console(quiet=True, force_terminal=True), Clock()
        stop, rows = Stop(None, 60, console, "run"), MetricRows(console, clock)
        saving = Checkpoints(folder / "run" / "checkpoints", cfg.trainer.checkpoint_minutes, 0, {})
        callbacks = [Ranks(60), clock, stop, RunProgressBar(console, clock), rows, saving]
        (folder / "run").mkdir()
    network = assemble.network(cfg)
    trainer = assemble.trainer(cfg, network, loggers=everything, callbacks=callbacks)
    data = assemble.data(cfg)
    return trainer, assemble.classifier(cfg, network, data, trainer), data


def fit_seconds(*words: str, everything: bool = True) -> float:
    """From the first step to the end of the last epoch: training, validation, metrics, logging and checkpoint."""
    from pytorch_lightning.callbacks import Callback

    trainer, classifier, datamodule = built(*words, everything=everything)

    class Clock(Callback):
        def on_train_start(self, *_):
            self.began = time.perf_counter()

        def on_train_end(self, *_):
            self.seconds = time.perf_counter() - self.began

    clock = Clock()
    trainer.callbacks.append(clock)
    trainer.fit(classifier, datamodule=datamodule)
    return clock.seconds


def bare_epochs(*words: str) -> float:
    """The same as a bare loop on the same tensors: gather, normalise, forward, backward, step; then validation."""
    import torch
    from torch.nn import functional as F

    _, classifier, datamodule = built(*words, everything=False)
    network, recipe = classifier.network, classifier.recipe
    network.to(memory_format=torch.contiguous_format)
    train, val = ((part[torch.arange(len(part))], part.labels) for part in (datamodule.train, datamodule.val))
    mean, std = datamodule.mean[0], datamodule.std[0]
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )
    size = recipe.batch_size
    began = time.perf_counter()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(train[1]))
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
    return time.perf_counter() - began


LENET = ("experiment=lenet5_mnist", "recipe.epochs=1", "recipe.decay_epochs=[1]", "trainer=cpu")


def lenet(rounds: int) -> None:
    """LeNet-5 on MNIST, batch 128, one epoch with validation."""
    compare(rounds, lineage=lambda: fit_seconds(*LENET), bare=lambda: bare_epochs(*LENET))


def logging(rounds: int) -> None:
    """The same epoch with progress, metrics files, TensorBoard and checkpoints, and with none of them."""
    compare(rounds, everything=lambda: fit_seconds(*LENET), nothing=lambda: fit_seconds(*LENET, everything=False))


def resnet18(rounds: int) -> None:
    """ResNet-18 with the CIFAR stem, 32x32, batch 64: a step of ours, of a plain fp32 loop, of a hand-tuned one."""
    import torch
    from torch.nn import functional as F

    from lineage.archs.resnet import ResNet
    from lineage.datamodules.images import TensorImages

    steps, size = 6, 64
    images, labels = (
        torch.randint(0, 256, (size * steps, 3, 32, 32), dtype=torch.uint8),
        torch.arange(size * steps) % 10,
    )

    def loop(tuned: bool) -> float:
        network = ResNet("basic", [2, 2, 2, 2], num_classes=10, stem="cifar")
        memory_format = torch.channels_last if tuned else torch.contiguous_format
        network.to(memory_format=memory_format)
        optimizer = torch.optim.SGD(network.parameters(), 0.02, 0.9, weight_decay=5e-4, fused=tuned)
        seconds = []
        for first in range(0, len(images), size):
            began = time.perf_counter()
            batch = (
                images[first : first + size].float().div(255).sub(0.5).div(0.25).contiguous(memory_format=memory_format)
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), labels[first : first + size])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds[1:])

    def ours() -> float:
        from pytorch_lightning.callbacks import Callback

        words = (
            "arch=resnet18 datamodule=cifar10 trainer=cpu recipe.epochs=1 recipe.batch_size=64 recipe.decay_epochs=[1]"
        )
        seconds: list[float] = []

        class Steps(Callback):
            def on_train_batch_start(self, *_):
                self.began = time.perf_counter()

            def on_train_batch_end(self, *_):
                seconds.append(time.perf_counter() - self.began)

        import lineage.datamodules.sets.cifar

        data = TensorImages(images, labels)
        setattr(lineage.datamodules.sets.cifar.CIFAR10, "read", lambda self, share: (data, data))  # noqa: B010
        trainer, classifier, datamodule = built(*words.split(), "datamodule.val_size=0", "trainer.limit_val_batches=0")
        trainer.callbacks.append(Steps())
        trainer.fit(classifier, datamodule=datamodule)
        return statistics.median(seconds[1:])

    compare(rounds, lineage=ours, tuned=lambda: loop(True), plain_fp32=lambda: loop(False))


def preparation(rounds: int) -> None:
    """Pad-crop, flip and normalisation of a CIFAR batch of 128, against a whole ResNet-20 step."""
    import torch
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from torch.nn import functional as F

    from lineage.archs.resnet import resnet_cifar
    from lineage.config import schema  # noqa: F401
    from lineage.recipes.augment.device import DeviceAugmentation

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        recipe: Any = OmegaConf.to_object(compose("train", ["recipe=resnet_cifar"]).recipe)
    facts: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.25] * 3}
    augment = DeviceAugmentation(recipe, seed=0, crop_here=True, **facts)
    images, samples = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8), torch.arange(128)
    sample_keys, labels = torch.stack((samples, samples, samples), dim=1), samples % 10
    network = resnet_cifar(20, num_classes=10, shortcut="A", stem="cifar").to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, fused=True)

    def prepare() -> float:
        began = time.perf_counter()
        augment(images, sample_keys).contiguous(memory_format=torch.channels_last)
        return time.perf_counter() - began

    def step() -> float:
        batch = augment(images, sample_keys).contiguous(memory_format=torch.channels_last)
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(batch)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began

    compare(max(rounds, 20), preparation=prepare, resnet20_step=step)


if __name__ == "__main__":
    command(__doc__, startup, lenet, logging, resnet18, preparation, rounds=5)
