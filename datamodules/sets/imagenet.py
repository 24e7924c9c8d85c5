"""ImageNet, ILSVRC 2012 (Russakovsky et al. 2015, arXiv 1409.0575): 1,281,167 training and 50,000 validation images.

The labels of its test images are secret, so papers use its validation images as the test set.
"""

from pathlib import Path
from typing import Any

import torch

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.discovery.ground_truth import described, ground_truth_classes, known_classes
from lineage.datamodules.discovery.index import Index, index_files, open_index
from lineage.datamodules.discovery.layout import described_empty, empty_classes, named_split_folders
from lineage.datamodules.discovery.scanning import files_of, folders_of, listed, printable
from lineage.datamodules.encoded import EncodedDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Images, View
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.split import labels_among

PLACES = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # below root: the official archives', and Kaggle's


class ImageNet(EncodedDataModule):
    """ROOT/train/CLASS/*, and ROOT/val/ in class folders too, or flat beside a file with the classes.

    Classes are numbered in the order of their names, as in torchvision and timm. An evaluation needs no training images
    and no image of every class, since ImageNet's classes are known.

    Args:
        train_folder, test_folder: below root; None: folders with the usual names of train and val.
        exif_rotation: whether to rotate a picture as its EXIF orientation says. Published accuracies do not.
    """

    def __init__(
        self, *, train_folder: str | None, test_folder: str | None, exif_rotation: bool, **options: Any
    ) -> None:
        super().__init__(**options)
        self.train_folder, self.test_folder, self.exif_rotation = train_folder, test_folder, exif_rotation
        self.no_training: str | None = None  # the reason, if the data cannot be trained on

    def class_names(self) -> list[str]:
        try:
            found = next(filter(None, map(folders_of, self._folders().values())), [])
        except DataError:  # the data have been moved
            found = []
        self.names = described(self._all_classes(found))
        return super().class_names()

    def connect_training(self, order: EpochOrder, split: BatchSplit, view: View | None, epochs: int) -> None:
        if self.no_training:
            raise DataError(self.no_training)
        super().connect_training(order, split, view, epochs)

    def read(self) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        folders, place = self._folders(), printable(self.root.absolute())
        if "test" not in folders:
            raise DataError(
                f"{place} holds no folder val of ImageNet's validation images.\nName the folder that holds it, "
                "datamodule.root=FOLDER, or its name there, datamodule.test_folder=NAME"
            )
        train = open_index(folders["train"]) if "train" in folders else None
        test = train if train is not None and folders["train"] == folders["test"] else self._test_index(folders["test"])
        classes = self._classes(test if train is None else train, test)
        self.names, self.digest = described(classes), None if train is None else train.digest
        self.validation = None if self.val_size else test.digest
        self.notes = [note for index in {train, test} if index is not None and index.cache for note in index.notes()]
        missing = len(set(classes) - set(test.classes)) + len(empty_classes(test))
        if missing:
            self.notes.append(f"{printable(test.folder)} has no image of {missing:,} of the {len(classes):,} classes")
        test_images = self._images(test, classes)
        if train is None:
            self.no_training = f"{place} holds no folder train: there is nothing to train on."
            return test_images.subset(torch.arange(0)), test_images, test_images
        if len(train.classes) != self.num_classes:
            count = len(train.classes)
            self.no_training = (
                f"{printable(train.folder)} has {count} class folders: set datamodule.num_classes={count}."
            )
        elif empty := described_empty(train):
            self.no_training = f"{printable(train.folder)} has class folders without an image: {empty}."
        return self._images(train, classes), test_images

    def _images(self, index: Index, classes: list[str]) -> EncodedImages:
        labels = torch.from_numpy(labels_among(index, classes))
        return EncodedImages(index, labels, self.channels, rotate=self.exif_rotation)

    def _folders(self) -> dict[str, Path]:
        """The folders of the training and test images that exist or are given."""
        places = [self.root / place for place in PLACES if (self.root / place).is_dir()]
        found = next(filter(None, map(named_split_folders, places)), {})
        folders = {"train": found.get("train"), "test": found.get("val", found.get("test"))}
        given = {"train": self.train_folder, "test": self.test_folder}
        folders |= {split: self.root / name for split, name in given.items() if name is not None}
        return {split: folder for split, folder in folders.items() if folder is not None}

    def _test_index(self, folder: Path) -> Index:
        names = files_of(folder) if folder.is_dir() and not folders_of(folder) else []
        if not names:
            return open_index(folder)
        class_of_each = ground_truth_classes(names, folder, self.root)
        return index_files(folder, names, sorted(set(class_of_each)), class_of_each)

    def _all_classes(self, found: list[str]) -> list[str]:
        """All of ImageNet's classes, if the classes found are among them and num_classes is ImageNet's."""
        known = known_classes()
        return list(known) if len(known) == self.num_classes and set(found) <= set(known) else found

    def _classes(self, first: Index, test: Index) -> list[str]:
        """In the order of the labels. Raises DataError: they are not num_classes, or the test set has others."""
        classes, place = self._all_classes(first.classes), printable(first.folder)
        if len(classes) != self.num_classes:
            raise DataError(
                f"{place} has {len(classes)} class folders: set datamodule.num_classes={len(classes)}, or use "
                "datamodule=imagefolder."
            )
        if more := sorted(set(test.classes) - set(classes)):
            raise DataError(f"{printable(test.folder)} has classes that {place} lacks: {listed(more)}.")
        return classes
