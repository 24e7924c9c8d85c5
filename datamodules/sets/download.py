"""Downloads through torchvision, which checks their checksums."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from lineage.datamodules.errors import DataError
from lineage.files import reason


def download(
    name: str, root: Path, folder: Path, names: Sequence[Sequence[str]], arguments: Mapping[str, str] | None = None
) -> list[Path]:
    """The files of a data set, which torchvision downloads into `root` if they are missing. Raises DataError: there is
    no network, or a checksum is wrong.

    One process downloads, and the others wait for it.

    Args:
        name: of torchvision's class.
        folder: of the files.
        names: the possible names of each file.
        arguments: of torchvision's class, if they are not `root` alone.
    """

    def found() -> list[Path]:
        files = [next(filter(Path.exists, (folder / name for name in possible)), None) for possible in names]
        return [file for file in files if file] if all(files) else []

    if found():
        return found()
    import torchvision

    output = io.StringIO()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            if not found():
                getattr(torchvision.datasets, name)(**(arguments or {"root": str(root)}), download=True)
        return found()
    except Exception as error:  # torchvision raises whatever its mirrors raise
        raise DataError(
            f"{name} is not in {folder.absolute()} and cannot be downloaded ({reason(error)}).\n"
            f"Put its files there, or name the folder that holds {folder.relative_to(root)}: datamodule.root=FOLDER"
        ) from None
