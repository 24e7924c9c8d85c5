"""Anybody's folder of images, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineage.datamodules.discovery.layout import open_splits, split_folders
from lineage.datamodules.discovery.scanning import folders_of, printable
from lineage.datamodules.errors import DataError
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.split import Split


class ImageFolder(InferredDataModule):
    """ROOT/{train,val,test}/CLASS/*, or ROOT/CLASS/*; classes are numbered in the order of their names."""

    def __init__(self, *, root: str, **facts: Any) -> None:
        self.folder = Path(root)
        super().__init__(name="imagefolder", root=root, **facts)

    def splits(self) -> dict[str, Split]:
        return open_splits(self.folder)

    def class_names(self) -> list[str]:
        try:
            self.names = list(map(printable, folders_of(split_folders(self.folder)["train"])))
        except DataError:  # the folder is elsewhere by now
            self.names = ()
        return super().class_names()
