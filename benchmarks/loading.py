"""The time from files to batches, against timm's loader and the decoder alone.

python benchmarks/loading.py files | augmented | evaluation | packed    [--rounds 3]

They use one core and no worker processes. The images are ImageNet's if LINEAGE_DATA holds imagenet-sample/train, else
made, of 500 x 375.
"""

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import simplejpeg
import torch
from harness import ROOT, command, compare, cpu_seconds
from loops import MEAN, STD, recipe, write_jpegs
from timm.data import create_dataset, create_transform
from timm.data.loader import fast_collate
from torch.utils.data import DataLoader

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.discovery.index import open_index
from lineage.datamodules.loading.loader import first_repetitions
from lineage.datamodules.loading.worker_pool import Job
from lineage.datamodules.packing.shards import Packing
from lineage.recipes.augment.geometry import flip_images
from lineage.recipes.augment.host import EvalCrop, build_augmentation

BATCH, SIDE = 64, 224
Work = Callable[[], object]


@cache
def folder() -> Path:
    """ROOT/CLASS/*.JPEG, about a thousand images, in the page cache."""
    sample = Path(os.environ.get("LINEAGE_DATA", ROOT / "data")) / "imagenet-sample" / "train"
    if not sample.is_dir():
        sample = write_jpegs(Path(tempfile.mkdtemp()) / "images", 1000, (500, 375))
    for path in sample.rglob("*.*"):
        path.read_bytes()
    return sample


def load_images(root: Path) -> Any:
    """The images of a folder of classes, or of one that lineage prepare has written."""
    packed = (root / "dataset.json").exists()
    blobs = Packing(str(root)).blobs("train") if packed else open_index(root)
    return EncodedImages(blobs, torch.zeros(len(blobs), dtype=torch.int64), 3, rotate=False)


def lineage(interpolation: str = "bicubic", policy: str = "", evaluate: str = "", root: Path | None = None) -> Work:
    """Batches of all the images, as a worker process of a run makes them.

    Args:
        evaluate: "exact" or "fast", for an evaluation instead of training.
    """
    images = load_images(root or folder())
    rsb_a2 = recipe("rsb_a2", interpolation=interpolation, rand_augment=policy, test_crop_ratio=0.95)
    train: Any = build_augmentation(rsb_a2, one_size=False, seed=0, mean=MEAN, std=STD)[0]
    view = EvalCrop(rsb_a2, evaluate == "exact") if evaluate else train
    job, sample_keys = Job(images, view), first_repetitions(torch.randperm(len(images)))
    slot = torch.empty(job.shape(BATCH, 0), dtype=torch.uint8, memory_format=torch.channels_last)  # as in the pool
    mirror = not policy and not evaluate  # as timm does here; a run does it on its device

    def work() -> None:
        for part in sample_keys.split(BATCH):
            assert not images.fill(slot[: len(part)], part, view)
            if mirror:
                flip_images(slot[: len(part)], torch.rand(len(part)) < 0.5)

    return work


def timm(policy: str = "", evaluate: bool = False) -> Work:
    """uint8 batches of timm's dataset, transform and collation, as the workers of its loader make them."""
    options: dict[str, Any] = {"color_jitter": None, "auto_augment": policy or None, "crop_pct": 0.95}
    options |= {"interpolation": "bicubic", "use_prefetcher": True, "is_training": not evaluate}
    dataset = create_dataset("", root=str(folder()), split="train")
    dataset.transform = create_transform(SIDE, **options)
    loader: Any = DataLoader(dataset, batch_size=BATCH, shuffle=True, collate_fn=fast_collate)
    return lambda: deque(loader, maxlen=0)


def decoder(root: Path | None = None) -> Work:
    """simplejpeg alone, on the same files in memory."""
    blobs = load_images(root or folder()).blobs
    files = [blobs.read(i) for i in range(len(blobs))]
    jpegs = [data for data in files if data[:2] == b"\xff\xd8"]
    return lambda: deque(map(partial(simplejpeg.decode_jpeg, strict=False), jpegs), maxlen=0)


def files(rounds: int) -> None:
    """CPU time for original files, random resized crop of 224 px and flip, bicubic and area."""
    others = {"timm": timm(), "decoder": decoder()}
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


def packed(rounds: int) -> None:
    """CPU time for shards of a short side of 186 px, area."""
    with tempfile.TemporaryDirectory() as place:
        root = pack(Path(place), 186)
        compare(rounds, cpu_seconds, lineage=lineage("area", root=root), decoder=decoder(root))


if __name__ == "__main__":
    command(__doc__, files, augmented, evaluation, packed, rounds=3)
