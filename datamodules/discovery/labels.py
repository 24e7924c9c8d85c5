"""The classes of images that lie in no class folders: of a table, or in their names, as cat.0.jpg. No torch."""

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lineage.datamodules.discovery.index import Index, index_files, open_index
from lineage.datamodules.discovery.scanning import ENDINGS, files_of, folders_of, images_below, printable
from lineage.datamodules.errors import DataError
from lineage.files import read_text, reason

# Usual names of a table's columns, in lower case.
FILES = "file filename file_name image image_id image_name img name path filepath id".split()
CLASSES = "class label labels category target breed species class_name".split()
NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+\W*")  # cat.0, american_bulldog_12, cat (3)


def read_labels(root: Path, file: str, columns: Sequence[str] | None) -> dict[str, str]:
    """The class of each image of a table (CSV, with commas, semicolons or tabs), by its name without ending. Raises
    DataError: there is no such file or column.

    Args:
        file: below root, or an absolute path.
        columns: those of the names and of the classes; None: found by their own names.
    """
    try:
        text = read_text(root / file, 2**28)
    except (OSError, ValueError) as error:
        raise DataError(f"datamodule.labels={file}: {printable(root / file)} ({reason(error)}).") from error
    rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=text.partition("\n")[0].count))
    names = list(rows.fieldnames or ())
    files, classes = columns or [
        next((name for name in names if name.lower() in usual), "") for usual in (FILES, CLASSES)
    ]
    if not {files, classes} <= {*names}:
        raise DataError(
            f"datamodule.labels={file}: its columns are {', '.join(map(printable, names))}. Name those of files and "
            "classes: datamodule.label_columns=[FILES,CLASSES]"
        )
    return {_stem(row[files].removeprefix("./")): row[classes] for row in rows if row[files] and row[classes]}


def open_labelled(folder: Path, root: Path, labels: dict[str, str] | None) -> tuple[Index, list[str]]:
    """The index of a folder's images, and notes about it. labels: see read_labels; None: a class is a folder or, if
    there is none, a part of the images' names. Raises DataError: see open_index."""
    if labels is None:
        names = [] if folders_of(folder) else files_of(folder)
        classes = classes_in_names(names)
        return (_index(folder, names, classes) if classes else open_index(folder)), []
    images = [os.path.relpath(path, os.fsencode(folder)) for path in images_below(folder)]
    every = {image: _label(labels, os.path.relpath(folder / os.fsdecode(image), root)) for image in images}
    found = {image: label for image, label in every.items() if label is not None}
    left_out = f"{len(every) - len(found):,} images of {printable(folder)} are left out: datamodule.labels lacks them"
    return _index(folder, list(found), list(found.values())), [left_out] * (len(found) < len(every))


def classes_in_names(names: Sequence[bytes]) -> list[str]:
    """The class of each file name: what stands before its number. None unless all have one, and two or more differ."""
    found = [match[1] for name in names if (match := NUMBERED.fullmatch(_stem(os.fsdecode(name))))]
    return found if len(found) == len(names) and len(set(found)) > 1 else []


def _index(folder: Path, names: list[bytes], classes: list[str]) -> Index:
    return index_files(Path(os.path.abspath(folder)), names, sorted(set(classes), key=os.fsencode), classes)


def _label(labels: dict[str, str], path: str) -> str | None:
    """By the path below the root, or its end."""
    parts = _stem(path).split(os.sep)
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((labels[end] for end in ends if end in labels), None)


def _stem(path: str) -> str:
    """A path without the ending of an image."""
    stem, ending = os.path.splitext(path)
    return stem if os.fsencode(ending.lower()) in ENDINGS else path
