"""Folders of small pictures, as a user would have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy
from PIL import Image


def write_folders(
    root: Path, count: int = 4, classes: Sequence[str] = ("ant", "bee"), size: tuple[int, int] | None = None
) -> None:
    """ROOT/{train,val}/CLASS/*.jpeg, of sizes about 40 x 50, each class of another brightness."""
    rng = numpy.random.default_rng(0)
    for part in ("train", "val"):
        for label, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                height, width = size or (40 + i % 9, 50 + i % 7)
                pixels = rng.integers(100 * label, 100 * label + 120, (height, width, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.jpeg")
