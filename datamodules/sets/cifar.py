"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from lineage.datamodules.errors import DataError
from lineage.datamodules.memory import MemoryDataModule
from lineage.datamodules.sets.download import download


class CIFAR10(MemoryDataModule):
    """The official python version in ROOT/cifar-10-batches-py."""

    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    folder = "cifar-10-batches-py"
    train_files = tuple(f"data_batch_{i}" for i in range(1, 6))
    test_files = ("test_batch",)
    label_key = "labels"

    def files(self) -> list[Path]:
        names = [[name] for name in (*self.train_files, *self.test_files)]
        return download(type(self).__name__, self.root, self.root / self.folder, names)

    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        for names in (self.train_files, self.test_files):
            batches = [read_batch(self.root / self.folder / name, self.label_key) for name in names]
            images, labels = zip(*batches, strict=True)
            yield numpy.concatenate(images), numpy.concatenate(labels)


class CIFAR100(CIFAR10):
    """The official python version in ROOT/cifar-100-python, with the 100 fine labels."""

    names = (
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
        "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
        "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster "
        "man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
        "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
        "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
        "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
    ).split()
    folder = "cifar-100-python"
    train_files = ("train",)
    test_files = ("test",)
    label_key = "fine_labels"


class ArraysOnly(pickle.Unpickler):
    """Unpickles plain values and numpy arrays. A file that asks for any other function is refused."""

    allowed = {
        ("_reconstruct", "multiarray"): numpy.empty(0).__reduce__()[0],
        ("_frombuffer", "numeric"): numpy.frombuffer,
        ("ndarray", "numpy"): numpy.ndarray,
        ("dtype", "numpy"): numpy.dtype,
        ("encode", "_codecs"): lambda text, encoding: text.encode("latin1"),
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[name, module.rsplit(".", 1)[-1]]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read_batch(path: Path, label_key: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Images (N, 3, 32, 32) uint8 and labels (N,). Raises DataError: it is not such a file."""
    try:
        batch = ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        images = numpy.asarray(batch["data"], dtype=numpy.uint8).reshape(-1, 3, 32, 32)
        return images, numpy.asarray(batch[label_key], dtype=numpy.int64)
    except Exception as error:  # damaged pickles raise errors of many kinds
        raise DataError(f"{path} is damaged ({error}): delete its folder and run again to download it.") from None
