"""The time from files to batches, against timm's loader, DALI and FFCV (if installed) and the decoder alone.

python benchmarks/loading.py files | augmented | evaluation | packed | cores    [--rounds 3]

All but `cores` use one core and no worker processes. The photographs are ImageNet's if LINEAGE_DATA holds
imagenet-sample/train, else scikit-learn's two, cut to 500 x 375.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import simplejpeg
import torch
from harness import ROOT, command, compare, cpu_seconds
from loops import MEAN, STD, recipe
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import create_dataset, create_transform
from timm.data.loader import fast_collate
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.discovery.index import open_index
from lineage.datamodules.loading.loader import EvaluationLoader, Stream, first_repetitions
from lineage.datamodules.loading.worker_pool import Job, Pool
from lineage.datamodules.packing.shards import Packing
from lineage.recipes.augment.geometry import flip_images
from lineage.recipes.augment.host import EvalCrop, TrainCrop, build_augmentation
from lineage.running.allocator import keep_freed_memory

COUNT, BATCH, SIDE = 1000, 64, 224
Work = Callable[[], object]


@cache
def folder() -> Path:
    """ROOT/CLASS/*.JPEG, about a thousand photographs, in the page cache."""
    sample = Path(os.environ.get("LINEAGE_DATA", ROOT / "data")) / "imagenet-sample" / "train"
    if not sample.is_dir():
        sample = write_photographs()
    for path in sample.rglob("*.*"):
        path.read_bytes()
    return sample


def write_photographs() -> Path:
    place = Path(tempfile.mkdtemp()) / "photographs"
    for label, pixels in enumerate(load_sample_images().images):
        (place / f"{label}").mkdir(parents=True)
        image = Image.fromarray(pixels)
        for i in range(COUNT // 2):
            left, top = i % 140, i % 52
            image.crop((left, top, left + 500, top + 375)).save(place / f"{label}" / f"{i}.JPEG", quality=95)
    return place


def load_images(root: Path) -> Any:
    """The images of a folder of classes, or of one that lineage prepare has written."""
    packed = (root / "dataset.json").exists()
    blobs = Packing(str(root)).blobs("train") if packed else open_index(root)
    return EncodedImages(blobs, torch.zeros(len(blobs), dtype=torch.int64), 3, rotate=False)


def lineage(
    interpolation: str = "bicubic", policy: str = "", evaluate: str = "", root: Path | None = None, mirror: bool = True
) -> Work:
    """Batches of all the images, as a worker process of a run makes them.

    Args:
        evaluate: "exact" or "fast", for an evaluation instead of training.
        mirror: whether to flip half of the images, as the other libraries do here; a run does it on its device.
    """
    images = load_images(root or folder())
    rsb_a2 = recipe("rsb_a2", interpolation=interpolation, rand_augment=policy, test_crop_ratio=0.95)
    view: Any = build_augmentation(rsb_a2, one_size=False, seed=0, mean=MEAN, std=STD)[0]
    if evaluate:
        view = EvalCrop(rsb_a2, evaluate == "exact")
    job, sample_keys = Job(images, view), first_repetitions(torch.randperm(len(images)))
    slot = torch.empty(job.shape(BATCH, 0), dtype=torch.uint8, memory_format=torch.channels_last)  # as in the pool
    mirror = mirror and not policy and not evaluate

    def work() -> None:
        for part in sample_keys.split(BATCH):
            assert not images.fill(slot[: len(part)], part, view)
            if mirror:
                flip_images(slot[: len(part)], torch.rand(len(part)) < 0.5)

    return work


def timm(policy: str = "", evaluate: bool = False) -> Work:
    """uint8 batches of timm's dataset, transform and collation, as the workers of its loader make them."""
    options: dict[str, Any] = {"interpolation": "bicubic", "use_prefetcher": True}
    if evaluate:
        transform = create_transform(SIDE, is_training=False, crop_pct=0.95, **options)
    else:
        options |= {"color_jitter": None, "auto_augment": policy or None}
        transform = create_transform(SIDE, is_training=True, **options)
    dataset = create_dataset("", root=str(folder()), split="train")
    dataset.transform = transform
    loader: Any = DataLoader(dataset, batch_size=BATCH, shuffle=True, collate_fn=fast_collate)
    return lambda: deque(loader, maxlen=0)


def decoder(root: Path | None = None, share: slice = slice(None)) -> Work:
    """simplejpeg alone, on the same files in memory."""
    blobs = load_images(root or folder()).blobs
    files = [blobs.read(i) for i in range(len(blobs))[share]]
    jpegs = [data for data in files if data[:2] == b"\xff\xd8"]
    return lambda: deque(map(partial(simplejpeg.decode_jpeg, strict=False), jpegs), maxlen=0)


def dali() -> Work | None:
    """DALI on the CPU, with one thread, which decodes only the random crop."""
    try:
        from nvidia.dali import fn, pipeline_def, types
    except ImportError:
        return None

    @pipeline_def
    def pipeline() -> Any:
        files, labels = fn.readers.file(file_root=str(folder()), random_shuffle=True, name="files")
        images = fn.decoders.image_random_crop(files, device="cpu", output_type=types.RGB, random_area=[0.08, 1])
        images = fn.resize(images, size=[SIDE, SIDE], interp_type=types.INTERP_CUBIC, antialias=True)
        return fn.flip(images, horizontal=fn.random.coin_flip()), labels

    built = pipeline(batch_size=BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)
    built.build()

    return lambda: [built.run() for _ in range(COUNT // BATCH)]


def write_beton(place: Path, longest: int, count: int) -> Path | None:
    """Write FFCV's file of `count` images: JPEG of quality 90, the long side at most `longest`."""
    try:
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter
    except ImportError:
        print(" ffcv is not installed")
        return None

    file = place / "images.beton"
    fields = {"image": RGBImageField(write_mode="jpg", max_resolution=longest, jpeg_quality=90), "label": IntField()}
    images = Subset(ImageFolder(str(folder())), range(count))
    DatasetWriter(str(file), fields, num_workers=1).from_indexed_dataset(images)
    return file


def ffcv(file: Path | None, workers: int = 1, mirror: bool = True) -> Work | None:
    if file is None:
        return None
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    pipeline = [RandomResizedCropRGBImageDecoder((SIDE, SIDE)), *[RandomHorizontalFlip()] * mirror, ToTensor()]
    options = {"os_cache": True, "order": OrderOption.RANDOM, "drop_last": False}
    loader = Loader(str(file), BATCH, workers, pipelines={"image": pipeline, "label": None}, **options)

    def work() -> None:
        deque(loader, maxlen=0)
        torch.set_num_threads(1)  # FFCV sets it

    return work


def files(rounds: int) -> None:
    """CPU time for original files, random resized crop of 224 px and flip, bicubic and area."""
    others = {"timm": timm(), "dali": dali(), "decoder": decoder()}
    for interpolation in ("bicubic", "area"):
        print(f" {interpolation}")
        compare(rounds, cpu_seconds, lineage=lineage(interpolation), **others)


def augmented(rounds: int) -> None:
    """The same, bicubic, with RandAugment."""
    policy = "rand-m7-mstd0.5-inc1"
    compare(rounds, cpu_seconds, lineage=lineage(policy=policy), timm=timm(policy))


def evaluation(rounds: int) -> None:
    """CPU time for the central 224 px of a short side of 235: with Pillow's own pixels, and with nearly those."""
    for kind in ("exact", "fast"):
        print(f" {kind}")
        compare(rounds, cpu_seconds, lineage=lineage(evaluate=kind), timm=timm(evaluate=True))


def pack(place: Path, max_size: int) -> Path:
    (place / "images").mkdir()
    for split in ("train", "val"):  # a data set of one image a class has none to hold out
        (place / "images" / split).symlink_to(folder())
    words = ["datamodule=imagefolder", f"datamodule.root={place / 'images'}", f"out={place / 'packed'}"]
    words += [f"max_size={max_size}", "quality=90"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "lineage", "prepare", *words], check=True, cwd=place, env=environment)
    return place / "packed"


def pool(workers: int, root: Path, interpolation: str = "bicubic") -> Work:
    """Batches of all the images from worker processes, which start now; this process flips them."""
    keep_freed_memory()  # as a run on a CPU does
    images, device = load_images(root), torch.device("cpu")
    job = Job(images, TrainCrop(recipe("rsb_a2", interpolation=interpolation), seed=0))
    processes = Pool({"all": job}, workers, job.max_bytes(128, 1), 4, device)
    loader = EvaluationLoader(Stream("all", job, device, lambda: processes, report=print), 128, 1, 0)

    def work() -> None:
        for batch in loader:
            flip_images(batch.images, torch.rand(len(batch.images)) < 0.5)

    return work


@contextmanager
def cores_in_use(count: int) -> Iterator[None]:
    """This process, and all that it starts, run on the first `count` cores."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(everywhere)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def on_cores(count: int, make: Callable[[], Work]) -> Work:
    """A work that is made and runs on the first `count` cores."""
    with cores_in_use(count):
        work = make()
    return cores_in_use(count)(work)


def in_processes(works: list[Work]) -> Work:
    """All works at once, each in a process of its own."""

    def work() -> None:
        processes = [multiprocessing.get_context("fork").Process(target=each) for each in works]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    return work


def cores(rounds: int) -> None:
    """Wall-clock time of one core against two, with a worker process per core and this process: original files,
    bicubic; then the decoder alone, a process per core, which shows what the second core is worth."""
    one, two = (on_cores(count, partial(pool, count, folder())) for count in (1, 2))
    compare(rounds, one=one, two=two)
    print(" the decoder alone")
    halves = [decoder(share=slice(i, None, 2)) for i in range(2)]
    one = on_cores(1, lambda: in_processes([decoder()]))
    compare(rounds, one=one, two=on_cores(2, lambda: in_processes(halves)))


def packed(rounds: int) -> None:
    """Shards of a short side of 186 px, which have as many pixels as FFCV's with a long side of 256, area; also without
    flips, in which FFCV is slow, and with two workers, by wall-clock time."""
    with tempfile.TemporaryDirectory() as place:
        root = pack(Path(place), 186)
        two = pool(2, root, "area")  # forked before FFCV starts threads
        file = write_beton(root.parent, 256, len(load_images(root)))
        ours, plain = (lineage("area", root=root, mirror=mirror) for mirror in (True, False))
        compare(rounds, cpu_seconds, lineage=ours, decoder=decoder(root), ffcv=ffcv(file))
        print(" without flips")
        compare(rounds, cpu_seconds, lineage=plain, decoder=decoder(root), ffcv=ffcv(file, mirror=False))
        print(" two workers")
        compare(rounds, lineage=two, decoder=decoder(root), ffcv=ffcv(file, workers=2))


if __name__ == "__main__":
    command(__doc__, files, augmented, evaluation, packed, cores, rounds=3)
