"""ImageNet, ILSVRC 2012 (Russakovsky et al. 2015, arXiv 1409.0575): 1,281,167 training and 50,000 validation images.

The labels of its test images are secret, so its validation images are everybody's test set.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.discovery.ground_truth import classes_of
from lineage.datamodules.discovery.index import FileBlobs, Index, index_of, open_index
from lineage.datamodules.discovery.layout import empty_classes, labels_among, listed, named_split_folders
from lineage.datamodules.discovery.scanning import files_of, folders_of, printable
from lineage.datamodules.encoded import EncodedDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Images, View
from lineage.datamodules.loading.order import BatchSplit, EpochOrder

PLACES = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # below root: as unpacked by hand, or as in Kaggle's copy


class ImageNet(EncodedDataModule):
    """ROOT/train/CLASS/*, and ROOT/val/ in class folders too, or flat beside a file that tells the classes.

    Classes are numbered in the order of their names, as torchvision and timm number them. A test needs no training
    images, and no image of every class, since ImageNet's classes are known.

    Args:
        train_folder, test_folder: below root; None: train, and val, by the names that people use.
        exif_rotation: whether to turn a picture as its camera says; published accuracies are of pictures as they lie.
    """

    def __init__(self, *, train_folder: str | None, test_folder: str | None, exif_rotation: bool, **facts: Any) -> None:
        super().__init__(**facts)
        self.train_folder, self.test_folder, self.exif_rotation = train_folder, test_folder, exif_rotation
        self.no_training: str | None = None  # why there is none

    def class_names(self) -> list[str]:
        try:
            found = [names for names in map(folders_of, self._folders().values()) if names][:1]
        except DataError:  # they are elsewhere
            found = []
        self.names = described(self._in_order(found[0] if found else []))
        return super().class_names()

    def connect_training(self, order: EpochOrder, split: BatchSplit, view: View | None, epochs: int) -> None:
        if self.no_training:
            raise DataError(self.no_training)
        super().connect_training(order, split, view, epochs)

    def read(self, share: bool) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        folders = self._folders()
        if "test" not in folders:
            raise DataError(
                f"{printable(self.root.absolute())} holds no folder val of ImageNet's validation images.\n"
                "Name the folder that does, datamodule.root=FOLDER, or theirs in it, datamodule.test_folder=NAME"
            )
        train = open_index(folders["train"]) if "train" in folders else None
        test = train if train and folders["train"] == folders["test"] else self._test_index(folders["test"])
        classes = self._classes([index for index in (train, test) if index])
        self.names, self.digest = described(classes), train.digest if train else None
        self.no_training = self._why_no_training(train)
        self.notes = [note for index in {train, test} if index and index.cache for note in index.notes()]
        lacking = len(set(classes) - set(test.classes)) + len(empty_classes(test))
        if lacking:
            self.notes.append(f"{printable(test.folder)} has no image of {lacking:,} of the {len(classes):,} classes")
        tested = self._images(test, classes)
        if train is None:
            return tested.subset(torch.arange(0)), tested, tested
        return self._images(train, classes), tested

    def _images(self, index: Index, classes: list[str]) -> EncodedImages:
        labels = torch.from_numpy(labels_among(index, classes))
        return EncodedImages(FileBlobs(index), labels, self.channels, turn=self.exif_rotation)

    def _folders(self) -> dict[str, Path]:
        """Of the training and of the test images; a part is missing where there is none."""
        places = [self.root / place for place in PLACES if (self.root / place).is_dir()]
        found = next(filter(None, map(named_split_folders, places)), {})
        parts = {"train": found.get("train"), "test": found.get("val", found.get("test"))}
        given = {"train": self.train_folder, "test": self.test_folder}
        parts.update({part: self.root / name for part, name in given.items() if name is not None})
        return {part: folder for part, folder in parts.items() if folder is not None}

    def _test_index(self, folder: Path) -> Index:
        names = files_of(folder) if folder.is_dir() and not folders_of(folder) else []
        if not names:
            return open_index(folder)
        of_each = classes_of(names, folder, self.root)
        return index_of(folder, names, sorted(set(of_each)), of_each)

    def _in_order(self, found: list[str]) -> list[str]:
        """All of ImageNet's classes, where those that are found are of them."""
        known = known_classes()
        return list(known) if len(known) == self.num_classes and set(found) <= set(known) else found

    def _classes(self, indices: list[Index]) -> list[str]:
        """In the order of the labels. Raises DataError: they are not num_classes, or the parts' do not fit together."""
        first, last = indices[0], indices[-1]
        classes = self._in_order(first.classes)
        if len(classes) != self.num_classes:
            raise DataError(
                f"{printable(first.folder)} has {len(classes)} class folders: set "
                f"datamodule.num_classes={len(classes)}, or let datamodule=imagefolder find it."
            )
        more = sorted(set(last.classes) - set(classes))
        if more:
            raise DataError(
                f"{printable(last.folder)} has classes that {printable(first.folder)} lacks: {listed(more)}."
            )
        return classes

    def _why_no_training(self, train: Index | None) -> str | None:
        if train is None:
            return f"{printable(self.root.absolute())} holds no folder train: there is nothing to train on."
        if len(train.classes) != self.num_classes:
            return (
                f"{printable(train.folder)} has {len(train.classes)} class folders: set datamodule.num_classes to that."
            )
        if empty_classes(train):
            return f"{printable(train.folder)} has class folders without an image: {listed(empty_classes(train))}."
        return None


@cache
def known_classes() -> dict[str, str]:
    """ImageNet's 1,000 classes, WordNet's number and words, in order."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return {name: info.label_name_to_description(name) for name in info.label_names()}


def described(classes: list[str]) -> list[str]:
    return [known_classes().get(name, printable(name)) for name in classes]
