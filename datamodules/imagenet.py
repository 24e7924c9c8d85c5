"""ImageNet and every data set laid out like it: ROOT/train/CLASS/*.JPEG and ROOT/val/CLASS/*.JPEG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from datamodules.base import ImageDataModule
from datamodules.images import FileImages
from datamodules.order import DataError

ENDINGS = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".ppm")


class ImageFolders(ImageDataModule):
    """A folder per class; classes are numbered in the order of their names, as torchvision and timm number them.

    Args:
        train_folder, test_folder: under root. ImageNet's test labels are secret, its "val" is everybody's test set.
    """

    def __init__(self, *, train_folder: str, test_folder: str, **facts: Any) -> None:
        super().__init__(**facts)
        self.train_folder, self.test_folder = train_folder, test_folder

    def class_names(self) -> list[str]:
        folder = self.root / self.train_folder
        self.names = self._folders(folder) if folder.is_dir() else ()
        return super().class_names()

    def read(self, share: bool) -> tuple[FileImages, FileImages]:
        train, classes = self._index(self.root / self.train_folder)
        if len(classes) != self.num_classes:
            raise DataError(
                f"{self.root / self.train_folder} has {len(classes)} class folders: "
                f"set datamodule.num_classes={len(classes)}."
            )
        test, test_classes = self._index(self.root / self.test_folder)
        if test_classes != classes:
            raise DataError(f"{self.root / self.test_folder} has other class folders than {self.train_folder}.")
        return train, test

    def _folders(self, folder: Path) -> list[str]:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())

    def _index(self, folder: Path) -> tuple[FileImages, list[str]]:
        if not folder.is_dir():
            raise DataError(
                f"{folder.absolute()} is not a folder. Unpack the images to it, a folder per class,\n"
                f"or name the folder that holds {self.train_folder}/ and {self.test_folder}/: datamodule.root=FOLDER"
            )
        classes = self._folders(folder)
        paths, labels = [], []
        for label, name in enumerate(classes):
            names = sorted(e.path for e in os.scandir(folder / name) if e.name.lower().endswith(ENDINGS))
            paths += names
            labels += [label] * len(names)
        if not paths:
            raise DataError(f"{folder.absolute()} holds no image: it needs a folder per class.")
        return FileImages(paths, torch.tensor(labels), self.channels), classes
