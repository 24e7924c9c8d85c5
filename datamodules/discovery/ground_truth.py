"""ImageNet's classes, and those of its validation images, if these lie in one folder: read from a file beside them.

ImageNet comes with a development kit, Kaggle's copy with a table, and other copies with a list. All are read here.
"""

import os
import re
from functools import cache
from pathlib import Path

from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.errors import DataError

WNID = re.compile(r"n\d{8}")  # WordNet's identifier of a noun, which names a class of ImageNet
MAX_LIST_BYTES = 2**24  # 50,000 lines have two million
KIT = Path("ILSVRC2012_devkit_t12", "data")


@cache
def known_classes() -> dict[str, str]:
    """ImageNet's 1,000 classes in order: wnids and descriptions."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return {name: info.label_name_to_description(name) for name in info.label_names()}


def described(classes: list[str]) -> list[str]:
    return [known_classes().get(name, printable(name)) for name in classes]


def ground_truth_classes(names: list[bytes], folder: Path, root: Path) -> list[str]:
    """The wnid of each image of a folder, given as sorted file names. Raises DataError: no file has the class of every
    image, or two files differ.

    From the folder up to the root, it looks for ILSVRC2012_devkit_t12/, for text files with one wnid a line, in the
    order of file names, and for those with lines "file wnid", such as Kaggle's LOC_val_solution.csv.
    """
    found: dict[Path, list[str]] = {}
    for place in dict.fromkeys([folder, *(p for p in folder.parents if root in (p, *p.parents)), root]):
        if (place / KIT).is_dir():
            found[place / KIT] = _read_kit(place / KIT)
        for path in sorted([*place.glob("*.txt"), *place.glob("*.csv")]):
            if path.is_file() and path.stat().st_size <= MAX_LIST_BYTES:
                found[path] = _read_list(path, names)
    found = {path: wnids for path, wnids in found.items() if len(wnids) == len(names)}
    if not found:
        raise DataError(
            f"{printable(folder)} holds {len(names):,} images in no class folders, and no file has their classes.\n"
            f"Put {KIT.parts[0]}/ or Kaggle's LOC_val_solution.csv in {printable(root)}, or a text file with one wnid "
            "a line."
        )
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise DataError(f"{printable(first)} and {printable(other)} have different classes: remove one of them.")
    return found[first]


def _read_list(path: Path, names: list[bytes]) -> list[str]:
    """The wnids of the images that a text file lists, in the order of their names."""
    lines = [re.split(r"[\s,;]+", line.strip()) for line in path.read_text(errors="replace").splitlines()]
    rows = [words for words in lines if any(map(WNID.fullmatch, words))]
    if all(len(words) == 1 for words in rows):
        return [words[0] for words in rows]
    by_name = {Path(words[0]).stem: next(filter(WNID.fullmatch, words[1:]), "") for words in rows}
    return list(filter(None, (by_name.get(Path(os.fsdecode(name)).stem) for name in names)))


def _read_kit(folder: Path) -> list[str]:
    """The wnid of each image. The kit lists class numbers, in the order of file names, and the wnids of the numbers."""
    from scipy.io import loadmat

    try:
        numbers = (folder / "ILSVRC2012_validation_ground_truth.txt").read_text().split()
        synsets = loadmat(str(folder / "meta.mat"), squeeze_me=True)["synsets"]
        wnids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        return [wnids[int(number)] for number in numbers]
    except Exception as error:  # scipy's reader raises whatever its input provokes
        raise DataError(f"{printable(folder)} is damaged ({type(error).__name__}: {error}): unpack it again.") from None
