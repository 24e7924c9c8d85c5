"""Downloads, with checksum, through torchvision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from lineage.datamodules.errors import DataError


def download(
    name: str,
    root: Path,
    folder: Path,
    found: Callable[[], list[Path] | None],
    arguments: Mapping[str, str] | None = None,
) -> list[Path]:
    """Have torchvision fetch the data set `name` into `root`; the files that `found` finds afterwards.

    Of several processes one does, and the others wait for it.

    Args:
        arguments: of torchvision's class, where they are not `root` alone.

    Raises:
        DataError: there is no network, or a checksum is wrong.
    """
    import torchvision

    said = io.StringIO()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            if not found():
                getattr(torchvision.datasets, name)(**{"root": str(root), **(arguments or {})}, download=True)
    except Exception as error:  # torchvision lets through whatever its mirrors raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{name} is not in {folder.absolute()} and cannot be downloaded ({reason}).\n"
            f"Put its files there, or name the folder that holds {folder.relative_to(root)}: datamodule.root=FOLDER"
        ) from None
    files = found()
    if files is None:
        raise DataError(f"{name} was downloaded, yet its files are not in {folder.absolute()}.")
    return files
