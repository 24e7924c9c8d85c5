"""Runs and bare loops of the same command, and the seconds that they take."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import ROOT, synchronise
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict
from PIL import Image
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from torch.nn import functional as F

from lineage import assemble
from lineage.config import schema  # noqa: F401  # the types of the config
from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.derived import eval_preprocessing
from lineage.running.run import Run

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def composed(*words: str) -> Any:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(words), return_hydra_config=True)


def recipe(name: str, **changes: Any) -> Any:
    return OmegaConf.to_object(OmegaConf.merge(composed(f"recipe={name}").recipe, changes))


def random_images(side: int, classes: int, count: int) -> list[str]:
    sizes = {"resolution": side, "num_classes": classes, "samples": count, "test_samples": count // 5}
    return ["datamodule=synthetic", *(f"datamodule.{name}={value}" for name, value in sizes.items())]


def write_jpegs(root: Path, count: int, size: tuple[int, int]) -> Path:
    """ROOT/{0,1}/*.jpg: smooth colours and a little noise, which take about as many bytes as photographs do."""
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        coarse = torch.rand(1, 3, 24, 32, generator=generator)
        smooth = F.interpolate(coarse, size[::-1], mode="bicubic")
        pixels = (255 * smooth + 12 * torch.randn(smooth.shape, generator=generator)).clamp(0, 255).byte()
        file = root / str(number % 2) / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).save(file, quality=90)
    return root


def steps(count: int) -> list[str]:
    return ["trainer.max_epochs=1", f"trainer.limit_train_batches={count}", "trainer.limit_val_batches=0"]


def build(*words: str, everything: bool = False, network: Any = None) -> tuple[Any, Any, Any]:
    """Trainer, module and data of `python train.py WORDS`.

    Args:
        everything: whether with the callbacks and loggers of a run.
        network: of an earlier call, to be given its first weights and used again; None: a new one.
    """
    cfg = composed(*words, f"runs={tempfile.mkdtemp()}", "run=run")
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    checks(cfg)
    cfg, callbacks = complete(cfg), list[Callback]()
    if everything:
        run = Run(cfg, eval_preprocessing(cfg))
        run.console = Console(quiet=True, force_terminal=True)
        run.folder.mkdir()
        callbacks = run.callbacks()
    fresh = assemble.network(cfg)
    if network is None:
        network = fresh
    else:
        network.load_state_dict(fresh.state_dict())
    trainer = assemble.trainer(cfg, network, loggers=everything, callbacks=callbacks)
    data = assemble.data(cfg)
    return trainer, assemble.classifier(cfg, network, data, trainer), data


class Stopwatch(Callback):
    """Seconds of training, after the first `skip` steps, and of tests, each until the device has finished."""

    def __init__(self, skip: int = 0) -> None:
        self.skip, self.seconds, self.began = skip, 0.0, 0.0

    def start(self, trainer: Any = None, module: Any = None) -> None:
        synchronise()
        self.began = time.perf_counter()

    def stop(self, trainer: Any = None, module: Any = None) -> None:
        synchronise()
        self.seconds += time.perf_counter() - self.began

    on_train_start = on_test_start = start  # type: ignore[assignment]
    on_train_end = on_test_end = stop  # type: ignore[assignment]

    def on_train_batch_end(self, trainer: Any, module: Any, out: Any, batch: Any, index: int) -> None:
        if index + 1 == self.skip:
            self.start()


def run_seconds(words: list[str], skip: int = 0, everything: bool = False) -> float:
    """Of an epoch's steps after the first `skip`, and of the validation, if there is one."""
    trainer, classifier, data = build(*words, everything=everything)
    watch = Stopwatch(skip)
    trainer.callbacks.append(watch)
    trainer.fit(classifier, datamodule=data)
    return watch.seconds


def bare_seconds(
    words: list[str], optimizer: Callable[..., Any], skip: int = 0, *, bf16: bool = False, validate: bool = False,
    loss: Callable[..., Any] = F.cross_entropy, mix: Callable[..., Any] | None = None,
) -> float:  # fmt: skip
    """The same in a plain loop with the same network, images and micro-batches: gather, normalise, mix, forward and
    backward pass, step.

    Args:
        optimizer: makes one of parameters.
        bf16: whether to compute in bf16 and channels_last.
    """
    trainer, classifier, data = build(*words)
    device, layout = trainer.strategy.root_device, torch.channels_last if bf16 else torch.contiguous_format
    network = classifier.network.to(device, memory_format=layout).train()
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (data.mean, data.std))
    train, val, chunks = data.train.to(device), data.val.to(device), data.split.chunks
    update, began = optimizer(network.parameters()), time.perf_counter()

    def logits_of(pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return network(pixels).float()

    def pixels_of(images: torch.Tensor) -> torch.Tensor:
        return images.float().div_(255).sub_(mean).div_(std).contiguous(memory_format=layout)

    for step in range(data.order.steps_per_epoch):
        if step == skip:
            synchronise()
            began = time.perf_counter()
        for index in torch.randint(len(train), (data.order.batch_size,), device=device).chunk(chunks):
            pixels, targets = pixels_of(train[index]), train.labels[index]
            if mix is not None:
                pixels, targets = mix(pixels, targets)
            (loss(logits_of(pixels), targets) / chunks).backward()
        update.step()
        update.zero_grad()
    with torch.no_grad():
        for index in torch.arange(len(val) if validate else 0, device=device).split(256):
            (logits_of(pixels_of(val[index])).argmax(1) == val.labels[index]).sum().item()
    synchronise()
    return time.perf_counter() - began
