"""The classes of images that lie in no class folders: of a table, or in their names, as cat.0.jpg. No torch."""

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lineage.datamodules.discovery.index import Index, index_files, open_index
from lineage.datamodules.discovery.scanning import files_of, folders_of, images_below, printable
from lineage.datamodules.errors import DataError
from lineage.files import read_text, reason

# Usual names of a table's columns, in lower case.
FILES = "file filename file_name image image_id image_name img name path filepath id".split()
CLASSES = "class label labels category target breed species class_name".split()
MAX_BYTES = 2**28
NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+\W*")  # cat.0, american_bulldog_12, cat (3)


def read_labels(root: Path, file: str, columns: Sequence[str] | None) -> dict[str, str]:
    """The class of each image by its name in a table (CSV, with commas, semicolons or tabs).

    Args:
        file: below root, or an absolute path.
        columns: those of the names and of the classes; None: found by their own names.

    Raises:
        DataError: there is no such file or column.
    """
    try:
        text = read_text(root / file, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"datamodule.labels={file}: {printable(root / file)} ({reason(error)}).") from error
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    names = list(rows.fieldnames or ())
    found = list(columns or (next((name for name in names if name.lower() in usual), "") for usual in (FILES, CLASSES)))
    if not {*found} <= {*names}:
        raise DataError(
            f"datamodule.labels={file}: its columns are {', '.join(map(printable, names))}. Name those of files and "
            "classes: datamodule.label_columns=[FILES,CLASSES]"
        )
    return {row[found[0]].removeprefix("./"): row[found[1]] for row in rows if row[found[0]] and row[found[1]]}


def labelled_index(folder: Path, root: Path, labels: dict[str, str] | None) -> tuple[Index, list[str]]:
    """The index of a folder's images, and notes on where their classes are read.

    Args:
        labels: see read_labels; None: a class is a folder or, if there is none, a part of the images' names.

    Raises:
        DataError: see open_index; the table has none of the images.
    """
    if labels is None:
        names = [] if folders_of(folder) else files_of(folder)
        classes = classes_in_names(names)
        if not classes:
            return open_index(folder), []
        return _index(folder, names, classes), [f"the classes are read in the names of {printable(folder)}'s images"]
    top = os.fsencode(folder)
    every = {
        path[len(top) + 1 :]: os.fsdecode(os.path.relpath(path, os.fsencode(root))) for path in images_below(folder)
    }
    found = {image: _label(labels, os.fsdecode(image), place) for image, place in every.items()}
    known = {image: label for image, label in found.items() if label is not None}
    missing = len(every) - len(known)
    notes = [f"{missing:,} images of {printable(folder)} are left out: datamodule.labels lacks them"] if missing else []
    return _index(folder, list(known), list(known.values())), notes


def classes_in_names(names: Sequence[bytes]) -> list[str]:
    """The class of each file name: what stands before its number. None unless all have one, and two or more differ."""
    found = [NUMBERED.fullmatch(os.fsdecode(name).rpartition(".")[0]) for name in names]
    classes = [match[1] for match in found if match]
    return classes if len(classes) == len(names) and len(set(classes)) > 1 else []


def _index(folder: Path, names: list[bytes], classes: list[str]) -> Index:
    return index_files(Path(os.path.abspath(folder)), names, sorted(set(classes), key=os.fsencode), classes)


def _label(labels: dict[str, str], *names: str) -> str | None:
    """By the path below the folder or below the root, or by the file's own name; each with or without its ending."""
    every = [*names, os.path.basename(names[0])]
    every += [os.path.splitext(name)[0] for name in every]
    return next((labels[name] for name in every if name in labels), None)
