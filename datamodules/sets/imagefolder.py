"""Any folder of images with a folder for each class, a table of classes, or classes in file names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from lineage.datamodules.discovery.layout import open_splits
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.split import Split


class ImageFolder(InferredDataModule):
    """ROOT/{train,val,test}/CLASS/*, or ROOT/CLASS/*; without class folders, see `labels`. Classes are numbered in the
    order of their names.

    Args:
        train_folder, val_folder, test_folder: below root; None: found by name; "." is root itself.
        labels: a table of the images' classes, below root; None: class folders or, without any, names as cat.0.jpg.
        label_columns: those of files and of classes in the table; None: found by their names.
    """

    def __init__(
        self,
        *,
        root: str,
        train_folder: str | None = None,
        val_folder: str | None = None,
        test_folder: str | None = None,
        labels: str | None = None,
        label_columns: Annotated[Sequence[str], "len(x) == 2"] | None = None,
        **options: Any,
    ) -> None:
        self.folder = Path(root)
        self.given = {"train": train_folder, "val": val_folder, "test": test_folder}
        self.labels, self.label_columns = labels, label_columns
        super().__init__(name="imagefolder", root=root, **options)

    def splits(self) -> dict[str, Split]:
        return open_splits(self.folder, self.given, self.learned is None, self.labels, self.label_columns)
