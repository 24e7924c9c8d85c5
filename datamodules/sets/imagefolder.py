"""Anybody's folder of images, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineage.datamodules.discovery.layout import folders_of_parts, parts_in
from lineage.datamodules.discovery.scanning import folders_of, shown
from lineage.datamodules.errors import DataError
from lineage.datamodules.inferred import FoundDataModule
from lineage.datamodules.split import Part


class ImageFolder(FoundDataModule):
    """ROOT/{train,val,test}/CLASS/*, or ROOT/CLASS/*; classes are numbered in the order of their names."""

    def __init__(self, *, root: str, **facts: Any) -> None:
        self.folder = Path(root)
        super().__init__(name="imagefolder", root=root, **facts)

    def parts(self) -> dict[str, Part]:
        return parts_in(self.folder)

    def class_names(self) -> list[str]:
        try:
            self.names = list(map(shown, folders_of(folders_of_parts(self.folder)["train"])))
        except DataError:  # the folder is elsewhere by now
            self.names = ()
        return super().class_names()
