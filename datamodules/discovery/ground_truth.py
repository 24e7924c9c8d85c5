"""The classes of ImageNet's validation images where they lie in one folder: from the files that tell them.

ImageNet comes with a development kit, Kaggle's copy with a table, and others with a list; all are known here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.errors import DataError

WNID = re.compile(r"n\d{8}")  # WordNet's number of a noun, as which ImageNet's classes are known
LARGEST_LIST = 2**24  # bytes; 50,000 lines are two million
KIT = Path("ILSVRC2012_devkit_t12", "data")


def classes_of(names: list[bytes], folder: Path, root: Path) -> list[str]:
    """The wnid of each image of a folder, given as sorted file names.

    Looked for beside the images and above them, up to the root: ILSVRC2012_devkit_t12/; a text file of a wnid a line,
    in the order of file names, or of lines "file wnid", of which Kaggle's LOC_val_solution.csv is one.

    Raises:
        DataError: there is none that tells the class of every image, or two differ.
    """
    told: dict[Path, list[str]] = {}
    for place in dict.fromkeys([folder, *(p for p in folder.parents if root in (p, *p.parents)), root]):
        if (place / KIT).is_dir():
            told[place / KIT] = _of_kit(place / KIT)
        for path in sorted([*place.glob("*.txt"), *place.glob("*.csv")]):
            if path.is_file() and path.stat().st_size <= LARGEST_LIST:
                told[path] = _of_list(path, names)
    told = {path: wnids for path, wnids in told.items() if len(wnids) == len(names)}
    if not told:
        raise DataError(
            f"{printable(folder)} holds {len(names):,} images in no class folders, and no file tells their classes.\n"
            f"Put {KIT.parts[0]}/ or Kaggle's LOC_val_solution.csv in {printable(root)}, or a text file with one wnid "
            "a line."
        )
    first, *others = told
    for other in others:
        if told[other] != told[first]:
            raise DataError(
                f"{printable(first)} and {printable(other)} tell different classes of the images: remove one."
            )
    return told[first]


def _of_list(path: Path, names: list[bytes]) -> list[str]:
    """Nothing of a file that tells something else, or not of all of these images."""
    lines = [re.split(r"[\s,;]+", line.strip()) for line in path.read_text(errors="replace").splitlines()]
    told = [words for words in lines if any(map(WNID.fullmatch, words))]
    if all(len(words) == 1 for words in told):
        return [words[0] for words in told]
    by_name = {Path(words[0]).stem: next(filter(WNID.fullmatch, words[1:]), "") for words in told}
    return list(filter(None, (by_name.get(Path(os.fsdecode(name)).stem) for name in names)))


def _of_kit(folder: Path) -> list[str]:
    """Numbers of classes, one a line in the order of file names, and a table of the wnids of these numbers."""
    from scipy.io import loadmat

    try:
        numbers = (folder / "ILSVRC2012_validation_ground_truth.txt").read_text().split()
        synsets = loadmat(str(folder / "meta.mat"), squeeze_me=True)["synsets"]
        wnids = {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in synsets}
        return [wnids[int(number)] for number in numbers]
    except Exception as error:  # scipy's reader lets through whatever its input provokes
        raise DataError(f"{printable(folder)} is damaged ({type(error).__name__}: {error}): unpack it again.") from None
