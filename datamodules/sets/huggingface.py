"""Any image classification set of the Hugging Face Hub by its name, or one that its package has saved."""

from __future__ import annotations

from typing import Any

from lineage.datamodules.discovery.tables import load_splits
from lineage.datamodules.errors import DataError
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.split import Split


class HuggingFace(InferredDataModule):
    """A set that the package `datasets` loads, and whose rows have an image and a label.

    Args:
        name: at huggingface.co/datasets, "uoft-cs/cifar10"; or a folder, of images or of what the package has saved.
        config: of several that a set has; None: the only one.
        train_split, val_split, test_split: their names there; None: those that are called so.
        image_column, label_column: None: the only one of the kind.
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
        **facts: Any,
    ) -> None:
        self.place: dict[str, Any] = {
            "name": name,
            "config": config,
            "train_split": train_split,
            "val_split": val_split,
            "test_split": test_split,
            "image_column": image_column,
            "label_column": label_column,
        }
        super().__init__(name=name, root=name, **facts)

    def splits(self) -> dict[str, Split]:
        return load_splits(self.place)

    def class_names(self) -> list[str]:
        if not self.names:
            try:
                self.names = self.splits()["train"].classes
            except DataError:  # the set is elsewhere by now
                self.names = ()
        return super().class_names()
