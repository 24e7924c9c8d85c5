"""Any folder of images with one folder for each class."""

from pathlib import Path
from typing import Any

from lineage.datamodules.discovery.layout import open_splits
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.split import Split


class ImageFolder(InferredDataModule):
    """ROOT/{train,val,test}/CLASS/*, or ROOT/CLASS/*. Classes are numbered in the order of their names.

    Args:
        train_folder, val_folder, test_folder: below root; None: found by name; "." is root itself.
    """

    def __init__(
        self,
        *,
        root: str,
        train_folder: str | None = None,
        val_folder: str | None = None,
        test_folder: str | None = None,
        **options: Any,
    ) -> None:
        self.folder = Path(root)
        self.given = {"train": train_folder, "val": val_folder, "test": test_folder}
        super().__init__(name="imagefolder", root=root, **options)

    def splits(self) -> dict[str, Split]:
        return open_splits(self.folder, self.given, training=self.learned is None)
