"""The parts of gpu.py that measure speed, each beside a plain loop or another project's script."""

import os
import re
import shlex
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import timm.optim
import torch
from gpu import Kit, Row, tried
from harness import in_turns, own_seconds
from loops import Stopwatch, bare_seconds, build, random_images, run_seconds, steps, write_jpegs
from timm.data import Mixup
from timm.loss import BinaryCrossEntropy

UNAUGMENTED = (
    "recipe.crop=none recipe.crop_scale=[] recipe.crop_ratio=[] recipe.crop_padding=0 recipe.crop_padding_mode=none "
    "recipe.hflip=0 recipe.color_jitter=0 recipe.rand_augment='' recipe.repeated_aug=0"
).split()
RUNS = 3  # of a speedrun, after one that warms up


def speeds(rounds: int, images: int, works: Mapping[str, Callable[[], float]]) -> Iterator[Row]:
    """Images a second of works that take turns and return their seconds; the ratios of the first's time to others'."""
    medians, ratios = in_turns(rounds, works, own_seconds)
    for name, seconds in medians.items():
        yield Row(name, images / seconds, "images/s")
    for name, (middle, least, most) in ratios.items():
        note = f"{least:.3f} to {most:.3f} in {rounds} rounds"
        yield Row(f"{next(iter(works))} / {name}", middle, "of its time", note)


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
        trainer, classifier, data = build(*words, f"seed={seed}", network=network)
        network, watch = classifier.network, Stopwatch()
        trainer.callbacks.append(watch)
        trainer.fit(classifier, datamodule=data)
        trainer.test(classifier, datamodule=data, verbose=False)
        found.append((watch.seconds, float(trainer.callback_metrics["test_top1"])))
    yield from speedrun_rows(name, found[1:], "" if real else "random images: the accuracy means nothing")


def their_speedruns(name: str, kit: Kit, words: list[str], compiled: bool) -> Iterator[Row]:
    """The user's own copy of the script, on the same images. It is ended after a few of its 200 runs."""
    place, data = kit.folder / name, build(*words)[2]
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
        if status := process.wait():
            how = f"ended after {limit:g} s" if status < 0 else f"status {status}"
            raise RuntimeError(f"{Path(command[0]).name}: {how}: {line.strip()}")
    finally:
        timer.cancel()
        process.kill()


# ---- steps


def imagenet(kit: Kit, batch: int, device_batch: int, count: int, *words: str) -> list[str]:
    """The words for some steps of ResNet-50 at 224 px on resident random images, in bf16."""
    chosen = ["arch=resnet50", *random_images(224, 1000, 1_281_167), "trainer.precision=bf16-mixed"]
    if kit.tiny:
        chosen = ["arch=resnet_cifar", "arch.depth=8", "arch.shortcut=B", *random_images(32, 10, 1_000)]
        chosen += ["recipe.train_res=32", "recipe.test_res=32"]
    batches = [f"recipe.batch_size={batch}", f"recipe.device_batch={device_batch}"]
    return [*chosen, *words, *batches, *steps(count), kit.trainer]


def resnet50(kit: Kit) -> Iterator[Row]:
    """ResNet-50, 224 px, bf16, channels_last: resident images, beside a plain loop; and timm's train.py."""
    batch, skip, count = (8, 1, 2) if kit.tiny else (256, 10, 20)
    words = imagenet(kit, batch, batch, skip + count, "recipe=pytorch", *UNAUGMENTED)
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4)
    plain = partial(bare_seconds, words, sgd, skip, bf16=not kit.tiny)
    works = {"lineage": partial(run_seconds, words, skip), "plain loop": plain}
    yield from tried("lineage", partial(speeds, 3, batch * count, works))
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
    words = imagenet(kit, batch, batch // 4, skip + count, "recipe=rsb_a2", *UNAUGMENTED)
    mix = Mixup(mixup_alpha=0.1, cutmix_alpha=1.0, label_smoothing=0, num_classes=10 if kit.tiny else 1000)
    lamb = partial(timm.optim.Lamb, lr=5e-3, weight_decay=0.02)
    loss = BinaryCrossEntropy(smoothing=0, target_threshold=0.2)
    plain = partial(bare_seconds, words, lamb, skip, bf16=not kit.tiny, loss=loss, mix=mix)
    yield from speeds(3, batch * count, {"lineage": partial(run_seconds, words, skip), "plain loop": plain})


def files(kit: Kit) -> Iterator[Row]:
    """RSB A2 whole, from JPEG files of 500 x 375 through all cores, beside its step on resident images: the difference
    is time in which the device has no images."""
    batch, skip, count = (16, 1, 2) if kit.tiny else (2048, 2, 5)
    root = kit.folder / "images"
    write_jpegs(root / "train", 32 if kit.tiny else 256, (500, 375))
    write_jpegs(root / "val", 2, (500, 375))
    resident = imagenet(kit, batch, batch // 4, skip + count, "recipe=rsb_a2", *UNAUGMENTED)
    fed = imagenet(kit, batch, batch // 4, skip + count, "recipe=rsb_a2", "recipe.passes=200")
    fed = [word for word in fed if not word.startswith("datamodule")]
    fed += ["datamodule=imagefolder", f"datamodule.root={root}"]
    works = {name: partial(run_seconds, words, skip) for name, words in (("resident", resident), ("fed", fed))}
    *rows, times = speeds(2, batch * count, works)
    yield from rows
    yield Row("idle", 100 * (1 - times.value), "% of time", f"1 - resident / fed, {os.cpu_count()} cores: {times.note}")


def small(kit: Kit) -> Iterator[Row]:
    """Networks whose steps are bound by launches, batches of 128, fp32: in a CUDA graph, without, and a plain loop."""
    skip, count = (1, 3) if kit.tiny else (20, 100)
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=1e-4)
    for arch, recipe in (("resnet_cifar", "resnet_cifar"), ("lenet5", "sgd_step")):
        words = [f"arch={arch}", f"recipe={recipe}", *random_images(32, 10, 50_000), *UNAUGMENTED, kit.trainer]
        words += ["recipe.batch_size=128", "recipe.device_batch=128", "trainer.precision=32-true", *steps(skip + count)]
        works = {f"{arch}, lineage": partial(run_seconds, [*words, "trainer.graph=false"], skip)}
        if kit.device == "cuda":
            works[f"{arch}, lineage, graph"] = partial(run_seconds, [*words, "trainer.graph=true"], skip)
        else:
            yield Row(f"{arch}, lineage, graph", note="needs a GPU")
        works[f"{arch}, plain loop"] = partial(bare_seconds, words, sgd, skip)
        yield from tried(arch, partial(speeds, 3, 128 * count, works))
