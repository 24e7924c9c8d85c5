"""Images for tests: scikit-learn's two photographs, 1,000 of ImageNet if they are there, and encoded ones in memory."""

import functools
import importlib.util
import io
import os
from pathlib import Path

import numpy
import torch
from doors import ROOT
from PIL import Image

from lineage.datamodules.decoding.decoding import Decoded
from lineage.pillow import to_pixels

SAMPLES = Path(os.environ.get("LINEAGE_DATA", ROOT.parent / "shared" / "data")) / "imagenet-sample" / "train"


@functools.cache
def photographs() -> list[Image.Image]:
    """Five of different shapes, cut from two; the last is grey."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "images"
    china, flower = (Image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg"))
    cut = [flower.crop((100, 40, 431, 405)), china.crop((3, 20, 90, 420)), flower.crop((50, 100, 640, 161))]
    return [china, *cut, china.crop((0, 0, 300, 301)).convert("L")]


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class MemoryBlobs:
    """Encoded images by name. The one called "gone" cannot be read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.names, self.files = list(files), list(files.values())

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int) -> bytes:
        if self.names[index] == "gone":
            raise FileNotFoundError(2, "No such file or directory")
        return self.files[index]


def make_keys(count: int, epoch: int = 3) -> torch.Tensor:
    """Sample keys (count, 3) of epoch, sample and repetition."""
    samples = torch.arange(count)
    return torch.stack((torch.full_like(samples, epoch), samples, samples % 3), dim=1)


def apply_view(view, images, sample_keys) -> torch.Tensor:
    """The result of a recipe's view of Pillow images: (B, C, H, W) uint8."""
    pictures = [Decoded(to_pixels(image)) for image in images]
    crops = view.crops(sample_keys, torch.tensor([picture.size for picture in pictures]))
    pixels = [picture.crop_resize(crop) for picture, crop in zip(pictures, crops, strict=True)]
    return view(torch.from_numpy(numpy.stack(pixels)).permute(0, 3, 1, 2), sample_keys)
