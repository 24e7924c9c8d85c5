"""Street View House Numbers (Netzer et al. 2011), cropped digits: 73,257 + 26,032 colour images of 32x32."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.errors import DataError
from lineage.datamodules.memory import MemoryDataModule
from lineage.datamodules.sets.download import download
from lineage.files import reason

SIDE = 32


class SVHN(MemoryDataModule):
    """The files {train,test,extra}_32x32.mat in ROOT/svhn or in ROOT, as torchvision names them. With `extra`, the
    531,131 easier images of "extra" are trained on too, as in the papers: 604,388 in all."""

    def __init__(self, *, extra: bool, **options: Any) -> None:
        super().__init__(**options)
        self.splits = ["train", "extra", "test"] if extra else ["train", "test"]

    def files(self) -> list[Path]:
        return [self._file(split) for split in self.splits]

    def _file(self, split: str) -> Path:
        name = f"{split}_32x32.mat"
        folder = self.root if (self.root / name).exists() else self.root / "svhn"
        return download("SVHN", self.root, folder, [[name]], {"root": str(folder), "split": split})[0]

    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        *training, test = map(read_mat, self.files())
        for parts in (training, [test]):
            images, labels = zip(*parts, strict=True)
            whole = numpy.empty((sum(map(len, images)), 3, SIDE, SIDE), dtype=numpy.uint8)  # contiguous, by one copy
            yield numpy.concatenate(images, out=whole), numpy.concatenate(labels)


def read_mat(path: Path) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Images (N, 3, 32, 32) uint8, a view of the file's (32, 32, 3, N), and labels (N,) int64. The file's 10 is a zero.
    Raises DataError: it is not such a file."""
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=("X", "y"))
        images, labels = found["X"].transpose(3, 2, 0, 1), found["y"].reshape(-1).astype(numpy.int64)
    except Exception as error:  # scipy raises errors of many kinds for a damaged file
        raise DataError(
            f"{path} is not a complete .mat file ({reason(error):.100}): delete it and run again to download it."
        ) from None
    known = numpy.isin(labels, range(11)).all()
    if images.shape != (len(labels), 3, SIDE, SIDE) or images.dtype != numpy.uint8 or not known:
        raise DataError(f"{path} does not hold cropped digits of 32x32 with labels of 1 to 10.")
    return images, labels % 10
