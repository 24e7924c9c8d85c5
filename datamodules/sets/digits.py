"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships (the test set of UCI optdigits)."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy

from lineage.datamodules.errors import DataError
from lineage.datamodules.memory import MemoryDataModule

TEST_IMAGES = 360  # a fifth; scikit-learn does not split them


class Digits(MemoryDataModule):
    """1,437 training and 360 test images, always split by the same permutation."""

    def files(self) -> list[Path]:
        spec = find_spec("sklearn")  # its file is read directly, since importing sklearn.datasets takes a second
        folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else self.root
        path = folder / "datasets" / "data" / "digits.csv.gz"
        if not path.exists():
            raise DataError("The digits come with scikit-learn, which is not installed: pip install scikit-learn")
        return [path]

    def arrays(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        table = numpy.loadtxt(self.files()[0], delimiter=",", dtype=numpy.int64)  # 64 pixels of 0 to 16, label
        images = (table[:, :64].reshape(-1, 1, 8, 8) * 255 // 16).astype(numpy.uint8)
        order = numpy.random.default_rng(0).permutation(len(table))
        for rows in (order[TEST_IMAGES:], order[:TEST_IMAGES]):
            yield images[rows], table[rows, 64]
