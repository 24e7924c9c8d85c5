"""From files to batches, side by side with timm's loader, DALI and FFCV (where installed) and the pure decoder.

python benchmarks/loading.py files augmented evaluation packed cores memory

On one core, in this process, without workers; `cores` is of two. The photographs are ImageNet's where LINEAGE_DATA
holds imagenet-sample/train, else scikit-learn's two, cut to 500 x 375.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.recipes import recipe_of
from benchmarks.sides import ROOT, command, compare, seconds

COUNT, BATCH, SIDE = 1000, 64, 224


@cache
def folder() -> Path:
    """ROOT/CLASS/*.JPEG, about a thousand photographs, in the page cache."""
    sample = Path(os.environ.get("LINEAGE_DATA", ROOT.parent / "shared" / "data")) / "imagenet-sample" / "train"
    if not sample.is_dir():
        sample = made()
    for path in sample.rglob("*.*"):
        path.read_bytes()
    return sample


def made() -> Path:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    place = Path(tempfile.mkdtemp()) / "photographs"
    for label, pixels in enumerate(load_sample_images().images):
        (place / f"{label}").mkdir(parents=True)
        image = Image.fromarray(pixels)
        for i in range(COUNT // 2):
            left, top = i % 140, i % 52
            image.crop((left, top, left + 500, top + 375)).save(place / f"{label}" / f"{i}.JPEG", quality=95)
    return place


def cpu_seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def images_of(root: Path) -> Any:
    """Of a folder of classes, or of what lineage prepare has packed."""
    import torch

    from lineage.datamodules.decoding.encoded_images import EncodedImages
    from lineage.datamodules.discovery.index import FileBlobs, open_index
    from lineage.datamodules.packing.shards import Packing

    packed = (root / "dataset.json").exists()
    blobs = Packing(str(root)).blobs("train") if packed else FileBlobs(open_index(root))
    return EncodedImages(blobs, torch.zeros(len(blobs), dtype=torch.int64), 3, rotate=False)


def lineage(
    interpolation: str = "bicubic", policy: str = "", evaluate: str = "", root: Path | None = None, mirror: bool = True
) -> Callable[[], None]:
    """Batches of all the images, as a run makes them in one of its worker processes.

    mirror: whether half of them are then mirrored, as by the others, which a run does on its device.
    """
    import torch

    from lineage.datamodules.loading.loader import first_repetitions
    from lineage.datamodules.loading.worker_pool import Job
    from lineage.recipes.augment.geometry import flip_images
    from lineage.recipes.augment.host import EvalCrop
    from lineage.recipes.augment.pipeline import build_augmentation

    images, mean = images_of(root or folder()), [0.485, 0.456, 0.406]
    recipe = recipe_of("rsb_a2", interpolation=interpolation, rand_augment=policy, test_crop_ratio=0.95)
    view: Any = build_augmentation(recipe, one_size=False, seed=0, mean=mean, std=mean)[0]
    if evaluate:
        view = EvalCrop(recipe, evaluate == "exact")
    job, samples = Job(images, view), torch.randperm(len(images))
    sample_keys = first_repetitions(samples)
    # Of the pool's memory:
    slot = torch.empty(job.shape(BATCH, 0), dtype=torch.uint8, memory_format=torch.channels_last)
    mirror = mirror and not policy and not evaluate

    def work() -> None:
        for part in sample_keys.split(BATCH):
            assert not images.fill(slot[: len(part)], part, view)
            if mirror:
                flip_images(slot[: len(part)], torch.rand(len(part)) < 0.5)

    return work


def timm(policy: str = "", evaluate: bool = False) -> Callable[[], None]:
    """timm's dataset, transform and collation, as its loader's workers use them: uint8 batches."""
    from timm.data import create_dataset, create_transform
    from timm.data.loader import fast_collate
    from torch.utils.data import DataLoader

    options: dict[str, Any] = {"interpolation": "bicubic", "use_prefetcher": True}
    if evaluate:
        transform = create_transform(SIDE, is_training=False, crop_pct=0.95, **options)
    else:
        options |= {"color_jitter": None, "auto_augment": policy or None}
        transform = create_transform(SIDE, is_training=True, **options)
    dataset = create_dataset("", root=str(folder()), split="train")
    dataset.transform = transform
    loader: Any = DataLoader(dataset, batch_size=BATCH, shuffle=True, collate_fn=fast_collate)

    def work() -> None:
        for _ in loader:
            pass

    return work


def decoder(root: Path | None = None, share: slice = slice(None)) -> Callable[[], None]:
    """simplejpeg alone, of the same bytes, already in memory."""
    import simplejpeg

    blobs = images_of(root or folder()).blobs
    files = [blobs.read(i) for i in range(len(blobs))[share]]
    files = [data for data in files if data[:2] == b"\xff\xd8"]

    def work() -> None:
        for data in files:
            simplejpeg.decode_jpeg(data, strict=False)

    return work


def dali(bicubic: bool = True) -> Callable[[], None] | None:
    """DALI on the CPU, one thread: random crops decoded alone, resized, mirrored."""
    if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None:
        return None
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def
    def pipeline() -> Any:
        files, labels = fn.readers.file(file_root=str(folder()), random_shuffle=True, name="files")
        images = fn.decoders.image_random_crop(files, device="cpu", output_type=types.RGB, random_area=[0.08, 1])
        kind = types.INTERP_CUBIC if bicubic else types.INTERP_LINEAR
        images = fn.resize(images, size=[SIDE, SIDE], interp_type=kind, antialias=True)
        return fn.flip(images, horizontal=fn.random.coin_flip()), labels

    built = pipeline(batch_size=BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)
    built.build()

    def work() -> None:
        for _ in range(COUNT // BATCH):
            built.run()

    return work


def beton(place: Path, longest: int, count: int) -> Path | None:
    """FFCV's file of `count` images: JPEG of quality 90, the long side at most `longest`."""
    if importlib.util.find_spec("ffcv") is None:
        print(" ffcv is not installed")
        return None
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter
    from torch.utils.data import Subset
    from torchvision.datasets import ImageFolder

    file = place / "images.beton"
    fields = {"image": RGBImageField(write_mode="jpg", max_resolution=longest, jpeg_quality=90), "label": IntField()}
    images = Subset(ImageFolder(str(folder())), range(count))
    DatasetWriter(str(file), fields, num_workers=1).from_indexed_dataset(images)
    return file


def ffcv(file: Path | None, workers: int = 1, mirror: bool = True) -> Callable[[], None] | None:
    if file is None:
        return None
    import torch
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    pipeline = [RandomResizedCropRGBImageDecoder((SIDE, SIDE)), *[RandomHorizontalFlip()] * mirror, ToTensor()]
    options = {"os_cache": True, "order": OrderOption.RANDOM, "drop_last": False}
    loader = Loader(str(file), BATCH, workers, pipelines={"image": pipeline, "label": None}, **options)

    def work() -> None:
        for _ in loader:
            pass
        torch.set_num_threads(1)  # FFCV sets it

    return work


def sides(rounds: int, **works: Callable[[], None] | None) -> None:
    present: dict[str, Any] = {name: partial(cpu_seconds, work) for name, work in works.items() if work}
    for work in present.values():  # once, to warm up
        work()
    print(f"  seconds of CPU for {COUNT:,} images")
    compare(rounds, **present)


def files(rounds: int) -> None:
    """Original files, random resized crop of 224 px and flip: bicubic, and area, against timm, DALI and the decoder."""
    others = {"timm": timm(), "dali": dali(), "decoder": decoder()}
    for interpolation in ("bicubic", "area"):
        print(f" {interpolation}")
        sides(rounds, lineage=lineage(interpolation), **others)


def augmented(rounds: int) -> None:
    """The same with RandAugment."""
    policy = "rand-m7-mstd0.5-inc1"
    sides(rounds, lineage=lineage(policy=policy), timm=timm(policy))


def evaluation(rounds: int) -> None:
    """The central 224 px of a short side of 235: Pillow's own pixels, and nearly those."""
    for kind in ("exact", "fast"):
        print(f" {kind}")
        sides(rounds, lineage=lineage(evaluate=kind), timm=timm(evaluate=True))


@contextmanager
def packing(max_size: int) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp())
    words = ["datamodule=imagefolder", f"datamodule.root={folder()}", f"out={place / 'packed'}", f"max_size={max_size}"]
    words += ["quality=90", "datamodule.val_size=1"]  # all but one in one split
    subprocess.run([sys.executable, str(ROOT / "lineage prepare"), *words], check=True, cwd=place)
    try:
        yield place / "packed"
    finally:
        shutil.rmtree(place)


def pool(workers: int, root: Path, interpolation: str = "bicubic", mirror: bool = True) -> Callable[[], None]:
    """Batches of all the images from worker processes; mirrored, as by the others, in this one."""
    import torch

    from lineage.datamodules.loading.worker_pool import Job, Pool
    from lineage.recipes.augment.geometry import flip_images
    from lineage.recipes.augment.host import TrainCrop
    from lineage.running.allocator import keep_freed_memory

    keep_freed_memory()  # as a run on a CPU does
    images = images_of(root)
    job = Job(images, TrainCrop(recipe_of("rsb_a2", interpolation=interpolation), seed=0))
    samples = torch.randperm(len(images))
    requests = torch.stack((samples * 0, samples, samples * 0), dim=1).split(128)
    processes = Pool({"all": job}, workers, job.max_bytes(128, 1), 4, torch.device("cpu"))

    def take(asked: Any) -> None:
        batch, _ = processes.result(asked)
        if mirror:
            flip_images(batch, torch.rand(len(batch)) < 0.5)

    def work() -> None:
        begun: list[Any] = []
        for request in requests:
            begun.append(processes.submit("all", request))
            if len(begun) == processes.ahead:
                take(begun.pop(0))
        for asked in begun:
            take(asked)

    return work


def by_the_clock(rounds: int, **works: Callable[[], None] | None) -> None:
    present = {name: partial(seconds, work) for name, work in works.items() if work}
    for work in present.values():
        work()
    compare(rounds, **present)


def on_cores(count: int, make: Callable[[], Callable[[], None]]) -> Callable[[], None]:
    """Work that takes place, with all processes that it starts, on the first `count` cores."""
    everywhere = os.sched_getaffinity(0)

    def confined(work: Callable[[], Any]) -> Any:
        os.sched_setaffinity(0, set(sorted(everywhere)[:count]))
        try:
            return work()
        finally:
            os.sched_setaffinity(0, everywhere)

    work = confined(make)
    return lambda: confined(work)


def forked(works: list[Callable[[], None]]) -> Callable[[], None]:
    """A process for each."""

    def work() -> None:
        processes = [multiprocessing.get_context("fork").Process(target=each) for each in works]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    return work


def cores(rounds: int) -> None:
    """One core against two, by the clock: original files, bicubic, a worker process per core and the one that asks
    them; then the decoder alone, a process per core, which says what the machine's second core is worth."""
    one, two = (on_cores(count, partial(pool, count, folder())) for count in (1, 2))
    by_the_clock(rounds, one=one, two=two)
    print(" the decoder alone")
    decoders = [decoder(share=slice(i, None, 2)) for i in range(2)]
    by_the_clock(
        rounds,
        one=on_cores(1, lambda: forked([decoder()])),
        two=on_cores(2, lambda: forked(decoders)),
    )


def memory(rounds: int) -> None:
    """Fetching 256 images of MNIST, in memory, as a share of the step of LeNet-5, forward and backward."""
    import torch
    from torch.nn import functional as F

    from lineage.archs.catalogue import build
    from lineage.datamodules.images import TensorImages
    from lineage.datamodules.loading.loader import Request, Stream
    from lineage.datamodules.loading.worker_pool import Job

    images = TensorImages(torch.randint(0, 256, (60_000, 1, 32, 32), dtype=torch.uint8), torch.arange(60_000) % 10)
    device, network = torch.device("cpu"), build("lenet5", num_classes=10)
    stream = Stream("train", Job(images, None), device, None, print)
    samples = torch.randperm(60_000)
    requests = [
        Request((0, i), torch.stack((part * 0, part, part * 0), dim=1), 0, 1.0)
        for i, part in enumerate(samples[:25_600].split(256))
    ]
    pixels, labels = torch.rand(256, 1, 32, 32), torch.arange(256) % 10

    def fetch() -> None:
        for _ in stream(iter(requests), len(requests)):
            pass

    def steps() -> None:
        for _ in requests:
            F.cross_entropy(network(pixels), labels).backward()

    compare(rounds, fetch=partial(cpu_seconds, fetch), steps=partial(cpu_seconds, steps))


def packed(rounds: int) -> None:
    """Shards of a short side of 186 px, as many pixels as FFCV packs with a long side of 256, area: against FFCV and
    the decoder; the same without mirrors, which FFCV makes slowly; two workers by the clock."""
    with packing(186) as root:
        two = pool(2, root, "area")  # forked before FFCV has threads
        file = beton(root.parent, 256, len(images_of(root)))
        sides(rounds, lineage=lineage("area", root=root), decoder=decoder(root), ffcv=ffcv(file))
        print(" without mirrors")
        plain = lineage("area", root=root, mirror=False)
        sides(rounds, lineage=plain, decoder=decoder(root), ffcv=ffcv(file, mirror=False))
        print(" two workers, by the clock")
        by_the_clock(rounds, lineage=two, decoder=decoder(root), ffcv=ffcv(file, workers=2))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    command(__doc__, files, augmented, evaluation, packed, cores, memory, rounds=3)
