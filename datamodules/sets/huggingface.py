"""Image classification sets of the Hugging Face Hub, or folders that its package `datasets` has saved."""

from typing import Any

from lineage.datamodules.discovery.tables import load_splits
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.split import Split


class HuggingFace(InferredDataModule):
    """A data set that `datasets` loads, whose rows have an image and a label.

    Args:
        name: at huggingface.co/datasets, "uoft-cs/cifar10"; or a folder, of images or saved by the package.
        config: one of the data set's configs; None: the only one.
        train_split, val_split, test_split: their names in the data set; None: the splits with usual names.
        image_column, label_column: None: the only column of the kind.
    """

    def __init__(
        self,
        *,
        name: str,
        config: str | None,
        train_split: str | None,
        val_split: str | None,
        test_split: str | None,
        image_column: str | None,
        label_column: str | None,
        **options: Any,
    ) -> None:
        columns = {"image_column": image_column, "label_column": label_column}
        splits = {"train_split": train_split, "val_split": val_split, "test_split": test_split}
        self.source = {"name": name, "config": config, **splits, **columns}
        super().__init__(name=name, root=name, **options)

    def splits(self) -> dict[str, Split]:
        return load_splits(self.source)
