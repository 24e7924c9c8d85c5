"""Any folder of images with one folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineage.datamodules.discovery.layout import open_splits
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.split import Split


class ImageFolder(InferredDataModule):
    """ROOT/{train,val,test}/CLASS/*, or ROOT/CLASS/*. Classes are numbered in the order of their names."""

    def __init__(self, *, root: str, **options: Any) -> None:
        self.folder = Path(root)
        super().__init__(name="imagefolder", root=root, **options)

    def splits(self) -> dict[str, Split]:
        return open_splits(self.folder)
