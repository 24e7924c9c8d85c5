"""The parts of gpu.py that measure speed, each beside a plain loop or another project's script."""

import os
import re
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import timm.optim
import torch
from gpu import Kit, Row, tried
from harness import ratio, synchronise
from PIL import Image
from pytorch_lightning.callbacks import Callback
from spine import build
from timm.data import Mixup
from timm.loss import BinaryCrossEntropy
from torch.nn import functional as F

UNAUGMENTED = (
    "recipe.crop=none recipe.crop_scale=[] recipe.crop_ratio=[] recipe.crop_padding=0 recipe.crop_padding_mode=none "
    "recipe.hflip=0 recipe.color_jitter=0 recipe.rand_augment='' recipe.repeated_aug=0"
).split()
RUNS = 3  # of a speedrun, after one that warms up


class Stopwatch(Callback):
    """Seconds of the training steps after the first `skip`, and of tests, each until the device has finished."""

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


def steps(count: int) -> list[str]:
    return ["trainer.max_epochs=1", f"trainer.limit_train_batches={count}", "trainer.limit_val_batches=0"]


def random_images(side: int, classes: int, count: int) -> list[str]:
    sizes = {"resolution": side, "num_classes": classes, "samples": count, "test_samples": count // 5}
    return ["datamodule=synthetic", *(f"datamodule.{name}={value}" for name, value in sizes.items())]


def our_seconds(words: list[str], skip: int, count: int) -> float:
    """Of a step of a run."""
    trainer, classifier, data = build(*words, *steps(skip + count), everything=False)
    watch = Stopwatch(skip)
    trainer.callbacks.append(watch)
    trainer.fit(classifier, datamodule=data)
    return watch.seconds / count


def bare_seconds(
    device: str, words: list[str], skip: int, count: int, optimizer: Callable[..., Any],
    loss: Callable[..., Any] = F.cross_entropy, mix: Callable[..., Any] | None = None,
) -> float:  # fmt: skip
    """Of a step of a plain loop with the same network, images and micro-batches: gather, normalise, mix, forward and
    backward pass, step. If the words ask for bf16, then in channels_last too."""
    _, classifier, data = build(*words, *steps(skip + count), everything=False)
    bf16 = "trainer.precision=bf16-mixed" in words
    layout = torch.channels_last if bf16 else torch.contiguous_format
    network, size = classifier.network.to(device, memory_format=layout).train(), classifier.recipe.batch_size
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (data.mean, data.std))
    images = data.train.to(torch.device(device))
    update, began = optimizer(network.parameters()), 0.0
    for step in range(skip + count):
        if step == skip:
            synchronise()
            began = time.perf_counter()
        for index in torch.randint(len(images), (size,), device=device).chunk(data.split.chunks):
            pixels = images[index].float().div_(255).sub_(mean).div_(std).contiguous(memory_format=layout)
            pixels, targets = (mix or (lambda *pair: pair))(pixels, images.labels[index])
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                logits = network(pixels)
            (loss(logits.float(), targets) / data.split.chunks).backward()
        update.step()
        update.zero_grad()
    synchronise()
    return (time.perf_counter() - began) / count


def in_turns(rounds: int, images: int, works: Mapping[str, Callable[[], float]]) -> Iterator[Row]:
    """Images a second of works that return the seconds of a step, and the ratios of the first's time to the others'.
    The works take turns."""
    turns = [{name: work() for name, work in works.items()} for _ in range(rounds)]
    for name in works:
        yield Row(name, images / statistics.median(turn[name] for turn in turns), "images/s")
    first, *others = works
    for name in others:
        middle, least, most = ratio(turns, first, name)
        yield Row(f"{first} / {name}", middle, "of its time", f"{least:.3f} to {most:.3f} in {rounds} rounds")


# ---- speedrun


def speedrun(kit: Kit) -> Iterator[Row]:
    """Seconds as airbench94 counts them: start from data, training, the test; not validation."""
    real = not kit.tiny and (Path(os.environ["LINEAGE_DATA"]) / "cifar-10-batches-py").is_dir()
    words = ["arch=airbench", "recipe=speedrun", "trainer.limit_val_batches=0", kit.trainer]
    words += ["datamodule=cifar10", "datamodule.val_size=0"] if real else random_images(32, 10, 50_000)
    words += ["arch.widths=[8,8,8]", "recipe.batch_size=64", "datamodule.test_samples=64", *steps(2)] * kit.tiny
    for compiled in (False, True) if kit.device == "cuda" else (False,):
        ours, theirs = (f"{name}{', compiled' * compiled}" for name in ("lineage", "airbench94_muon"))
        yield from tried(ours, partial(our_speedruns, ours, [*words, f"trainer.compile={compiled}"], real))
        if kit.airbench is None:
            yield Row(theirs, note="not given: --airbench PATH")
        else:
            yield from tried(theirs, partial(their_speedruns, theirs, kit, words, compiled))
    if kit.device == "cpu":
        yield Row("compiled", note="needs a GPU")


def our_speedruns(name: str, words: list[str], real: bool) -> Iterator[Row]:
    found, network = [], None
    for seed in range(1 + RUNS):
        trainer, classifier, data = build(*words, f"seed={seed}", everything=False, network=network)
        network, watch = classifier.network, Stopwatch()
        trainer.callbacks.append(watch)
        trainer.fit(classifier, datamodule=data)
        trainer.test(classifier, datamodule=data, verbose=False)
        found.append((watch.seconds, float(trainer.callback_metrics["test_top1"])))
    yield from speedrun_rows(name, found[1:], "" if real else "random images: the accuracy means nothing")


def their_speedruns(name: str, kit: Kit, words: list[str], compiled: bool) -> Iterator[Row]:
    """The user's own copy of the script, on the same images. It is ended after a few of its 200 runs."""
    place, data = kit.folder / name, build(*words, everything=False)[2]
    (place / "cifar10").mkdir(parents=True)
    for file, images in (("train.pt", data.train), ("test.pt", data.test)):
        pixels = images[torch.arange(len(images))].permute(0, 2, 3, 1).contiguous()
        torch.save({"images": pixels, "labels": images.labels, "classes": data.class_names()}, place / "cifar10" / file)
    lines = output_of([kit.airbench], place, 65 if compiled else 40, TORCH_COMPILE_DISABLE=str(int(not compiled)))
    rows = ([cell.strip() for cell in line.split("|")] for line in lines)  # ..., accuracy of six views, seconds
    found = list(islice(((float(row[-2]), float(row[-3])) for row in rows if "eval" in row), 1 + RUNS))
    lines.close()
    yield from speedrun_rows(name, found[1:])


def speedrun_rows(name: str, found: list[tuple[float, float]], note: str = "") -> Iterator[Row]:
    times, accuracies = zip(*found, strict=True)
    yield Row(name, statistics.median(times), "s", f"{min(times):.2f} to {max(times):.2f} in {len(times)} runs")
    yield Row(f"{name}: top-1", 100 * statistics.mean(accuracies), "%", note)


def output_of(command: list[Any], folder: Path, limit: float, **environment: str) -> Generator[str]:
    """The lines that a Python script prints, as they come; it is ended with this generator. RuntimeError: it failed, or
    took longer than `limit` seconds."""
    options: dict[str, Any] = {"cwd": folder, "env": {**os.environ, "PYTHONUNBUFFERED": "1", **environment}}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process, line = subprocess.Popen([sys.executable, *map(str, command)], **options), ""
    timer = threading.Timer(limit, process.kill)
    timer.start()
    try:
        for line in process.stdout or ():  # noqa: B007  # the last one is its error
            yield line
    except GeneratorExit:
        process.kill()
        raise
    finally:
        timer.cancel()
    if status := process.wait():
        how = f"ended after {limit:g} s" if status < 0 else f"status {status}"
        raise RuntimeError(f"{Path(command[0]).name}: {how}: {line.strip()}")


# ---- steps


def imagenet(kit: Kit, batch: int, device_batch: int, *words: str) -> list[str]:
    """The words for ResNet-50 at 224 px on resident random images, in bf16."""
    chosen = ["arch=resnet50", *random_images(224, 1000, 1_281_167), "trainer.precision=bf16-mixed"]
    if kit.tiny:
        chosen = ["arch=resnet_cifar", "arch.depth=8", "arch.shortcut=B", *random_images(32, 10, 1_000)]
        chosen += ["recipe.train_res=32", "recipe.test_res=32"]
    batches = [f"recipe.batch_size={batch}", f"recipe.device_batch={device_batch}"]
    return [*chosen, *words, *batches, kit.trainer]


def resnet50(kit: Kit) -> Iterator[Row]:
    """ResNet-50, 224 px, bf16, channels_last: resident images, beside a plain loop; and timm's train.py."""
    batch, skip, count = (8, 1, 2) if kit.tiny else (256, 10, 20)
    words = imagenet(kit, batch, batch, "recipe=pytorch", *UNAUGMENTED)
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4)
    plain = partial(bare_seconds, kit.device, words, skip, count, sgd)
    works = {"lineage": partial(our_seconds, words, skip, count), "plain loop": plain}
    yield from tried("lineage", partial(in_turns, 3, batch, works))
    if kit.timm is None:
        yield Row("timm's train.py", note="not given: --timm PATH")
    else:
        yield from tried("timm's train.py", partial(timm_rows, kit, batch))


def timm_rows(kit: Kit, batch: int) -> Iterator[Row]:
    """timm's train.py on JPEG files of 32 px, which its workers decode faster than a GPU trains."""
    root = write_jpegs(kit.folder / "small", batch, (32, 32))
    words = f"{root} --batch-size {batch} --channels-last --device {kit.device} --epochs 1 --warmup-epochs 0 --no-aug "
    words += f"--workers {os.cpu_count()} --epoch-repeats 25 --log-interval 1 --train-split '' --val-split '' "
    words += "--model resnet10t --img-size 32" if kit.tiny else "--model resnet50 --amp --amp-dtype bfloat16"
    lines = output_of([kit.timm, *shlex.split(words)], kit.folder, 35)
    found = [re.search(r"Train: .* Time: \S+ +([\d.]+)/s", line) for line in lines]
    rates = [float(match[1]) for match in found if match]
    yield Row("timm's train.py", statistics.median(rates[len(rates) // 2 :]), "images/s", "from small JPEG files")


def rsb_a2(kit: Kit) -> Iterator[Row]:
    """A step of RSB A2 on resident images, beside a plain loop with timm's mixing, loss and LAMB."""
    batch, skip, count = (16, 1, 2) if kit.tiny else (2048, 1, 4)
    words = imagenet(kit, batch, batch // 4, "recipe=rsb_a2", *UNAUGMENTED)
    mix = Mixup(mixup_alpha=0.1, cutmix_alpha=1.0, label_smoothing=0, num_classes=10 if kit.tiny else 1000)
    lamb = partial(timm.optim.Lamb, lr=5e-3, weight_decay=0.02)
    loss = BinaryCrossEntropy(smoothing=0, target_threshold=0.2)
    plain = partial(bare_seconds, kit.device, words, skip, count, lamb, loss, mix)
    yield from in_turns(3, batch, {"lineage": partial(our_seconds, words, skip, count), "plain loop": plain})


def files(kit: Kit) -> Iterator[Row]:
    """RSB A2 whole, from JPEG files of 500 x 375 through all cores, beside its step on resident images: the difference
    is time in which the device has no images."""
    batch, skip, count = (16, 1, 2) if kit.tiny else (2048, 2, 5)
    root = kit.folder / "images"
    write_jpegs(root / "train", 32 if kit.tiny else 256, (500, 375))
    write_jpegs(root / "val", 2, (500, 375))
    fed = imagenet(kit, batch, batch // 4, "recipe=rsb_a2", "recipe.passes=200")
    fed = [word for word in fed if not word.startswith("datamodule")]
    fed += ["datamodule=imagefolder", f"datamodule.root={root}"]
    resident = imagenet(kit, batch, batch // 4, "recipe=rsb_a2", *UNAUGMENTED)
    rate = batch / loading_seconds(fed, skip, count)
    yield Row("the workers alone", rate, "images/s", f"{os.cpu_count()} cores")
    works = {name: partial(our_seconds, words, skip, count) for name, words in (("resident", resident), ("fed", fed))}
    *rows, times = in_turns(2, batch, works)
    yield from rows
    yield Row("idle", 100 * (1 - times.value), "% of time", f"1 - resident / fed: {times.note}")
    yield Row("idle, as the workers' rate forces", 100 * max(0, 1 - rate / rows[0].value), "% of time")


def loading_seconds(words: list[str], skip: int, count: int) -> float:
    """In which the worker processes make the images of a step, if nothing is trained."""
    trainer, _, data = build(*words, *steps(skip + count), everything=False)
    data.trainer, began = trainer, 0.0
    for step, batches in enumerate(data.train_dataloader()):
        deque(batches, maxlen=0)
        if step + 1 == skip:
            began = time.perf_counter()
    return (time.perf_counter() - began) / count


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


def small(kit: Kit) -> Iterator[Row]:
    """Networks whose steps are bound by launches, batches of 128, fp32: in a CUDA graph, without, and a plain loop."""
    skip, count = (1, 3) if kit.tiny else (20, 100)
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=1e-4)
    for arch, recipe in (("resnet_cifar", "resnet_cifar"), ("lenet5", "sgd_step")):
        words = [f"arch={arch}", f"recipe={recipe}", *random_images(32, 10, 50_000), *UNAUGMENTED, kit.trainer]
        words += ["recipe.batch_size=128", "recipe.device_batch=128", "trainer.precision=32-true"]
        works = {}
        for name, graph in (("lineage", "false"), ("lineage, graph", "true"))[: 2 if kit.device == "cuda" else 1]:
            works[f"{arch}, {name}"] = partial(our_seconds, [*words, f"trainer.graph={graph}"], skip, count)
        works[f"{arch}, plain loop"] = partial(bare_seconds, kit.device, words, skip, count, sgd)
        yield from tried(arch, partial(in_turns, 3, 128, works))
        if kit.device == "cpu":
            yield Row(f"{arch}, lineage, graph", note="needs a GPU")
