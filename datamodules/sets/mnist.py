"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 + 10,000 of 28x28."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy

from lineage.datamodules.errors import DataError
from lineage.datamodules.memory import MemoryDataModule
from lineage.datamodules.sets.download import download


class MNIST(MemoryDataModule):
    """The four idx files, plain or .gz, in ROOT/MNIST/raw, as torchvision lays them out."""

    def files(self) -> list[Path]:
        folder = self.root / type(self).__name__ / "raw"
        names = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        return download(type(self).__name__, self.root, folder, [(name, f"{name}.gz") for name in names])

    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        paths = self.files()
        for images, labels in (paths[:2], paths[2:]):
            yield read_idx(images)[:, None], read_idx(labels)


class FashionMNIST(MNIST):
    """The same in ROOT/FashionMNIST/raw."""

    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read_idx(path: Path) -> numpy.ndarray:
    """A uint8 array from an idx file: bytes 0, 0, 8 (the type), the number of dimensions, each in four bytes, the data.
    Raises DataError: it has another header, or more or less data than the header says."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}): delete it and run again to download it.") from None
    dimensions = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = numpy.frombuffer(content[4 : 4 + 4 * dimensions], dtype=">u4").astype(int)
    if not dimensions or len(content) != 4 + 4 * dimensions + shape.prod():
        raise DataError(f"{path} is damaged (it is not a complete idx file): delete it and run again to download it.")
    return numpy.frombuffer(content, dtype=numpy.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()
