"""Anybody's folder of images, one folder a class, with what it does not say itself found in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from datamodules import shared
from datamodules.base import EncodedDataModule
from datamodules.encoded import EncodedImages
from datamodules.errors import DataError
from datamodules.facts import Facts, bytes_of
from datamodules.images import Images, TensorImages
from datamodules.index import FileBlobs, Index
from datamodules.layout import (
    empty_classes,
    find_nulls,
    known_facts,
    labels_among,
    listed,
    open_parts,
    parts_of,
    validation_size,
)
from datamodules.memory import show_at
from datamodules.pixels import pixels_of
from datamodules.scanning import folders_of, shown

IMBALANCE = 10  # how many times larger than the smallest class the largest may be before it is worth a word


class ImageFolder(EncodedDataModule):
    """ROOT/{train,val,test}/CLASS/*, or ROOT/CLASS/*; classes are numbered in the order of their names.

    Args:
        root: the folder.
        num_classes, channels, mean, std: None: found, mean and std in up to 2,000 images.
        resolution: None: of squares of one size that fit in memory this size, 32 at least; of others what the recipe
            says.
        show: how images of one size come to another `resolution`: "resize" or "pad" (with zeros, centred).
        val_size: training images held out for validation; None: those of ROOT/val, and if there are none a tenth.
        exif_rotation: whether to turn a picture as its camera says.
    """

    def __init__(
        self,
        *,
        root: str,
        num_classes: Annotated[int, "1 <= x <= 1000000"] | None,
        channels: Literal[1, 3] | None,
        mean: Sequence[Annotated[float, "0 <= x <= 1"]] | None,
        std: Sequence[Annotated[float, "0 < x <= 1"]] | None,
        resolution: Annotated[int, "1 <= x <= 1024"] | None,
        show: Literal["resize", "pad"],
        val_size: Annotated[int, "x >= 0"] | None,
        exif_rotation: bool,
        **facts: Any,
    ) -> None:
        given: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "mean": mean,
            "std": std,
            "resolution": resolution,
            "val_size": val_size,
        }
        if None in (num_classes, channels, mean, std):
            found = find_nulls({"root": root, "exif_rotation": exif_rotation, **given})
            given = {key: found[key] if value is None else value for key, value in given.items()}
        self.validation_is_own = given["val_size"] is None
        super().__init__(
            root=root,
            num_classes=given["num_classes"],
            channels=given["channels"],
            mean=given["mean"],
            std=given["std"],
            resolution=given["resolution"],
            val_size=given["val_size"] or 0,
            **facts,
        )
        self.show, self.exif_rotation = show, exif_rotation

    def class_names(self) -> list[str]:
        try:
            self.names = list(map(shown, folders_of(parts_of(self.root)["train"])))
        except DataError:  # the folder is elsewhere by now
            self.names = ()
        return super().class_names()

    def load(self, *, share: bool = False) -> None:
        super().load(share=share)
        if self.test_is_validation:
            self.test = self.val

    def read(self, share: bool) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        indices = open_parts(self.root)
        train = indices["train"]
        if len(train.classes) != self.num_classes:
            raise DataError(
                f"{shown(train.folder)} has {len(train.classes)} class folders, and "
                f"datamodule.num_classes={self.num_classes}: null finds them."
            )
        self.names = list(map(shown, train.classes))
        roles = self._roles(indices)
        self.notes = [self._summary(indices), *self._notes(indices, roles)]
        labels = [torch.from_numpy(labels_among(index, train.classes)) for index in roles]
        if self.resolution is None:
            images: list[Images] = [
                EncodedImages(FileBlobs(index), those, self.channels, turn=self.exif_rotation)
                for index, those in zip(roles, labels, strict=True)
            ]
        else:
            images = list(map(TensorImages, self._tensors(roles, share), labels))
        return (images[0], images[1], images[2]) if len(images) == 3 else (images[0], images[1])

    def _roles(self, indices: dict[str, Index]) -> list[Index]:
        """Training, validation and test; or training and test, where validation images are held out."""
        train, val, test = indices["train"], indices.get("val"), indices.get("test")
        if self.validation_is_own and val is None:
            self.validation_is_own, self.val_size = False, validation_size(train)
        if self.validation_is_own and val is not None:
            self.test_is_validation = test is None
            return [train, val, val if test is None else test]
        tested = val if test is None else test
        self.test_is_validation = tested is None
        if tested is None and not self.val_size:
            raise DataError(f"datamodule.val_size=0: {shown(self.root)} has no folder of validation or test images.")
        return [train, train if tested is None else tested]

    def _tensors(self, indices: list[Index], share: bool) -> list[Tensor]:
        """The images of each index at `resolution`; those of an index that comes twice are there once."""
        assert self.resolution is not None
        side, distinct = self.resolution, list(dict.fromkeys(indices))
        size = bytes_of(sum(map(len, distinct)), self.channels, side)
        if size > _memory() / 2:
            raise DataError(
                f"datamodule.resolution={side}: all images at this size are {size / 2**30:.1f} GiB, more than half of "
                "the memory of this machine."
            )
        shown_as = (side, self.show, self.channels, self.exif_rotation)
        key = repr([type(self).__name__, *shown_as, *(index.digest for index in distinct)])
        tensors = shared.offered(key) if share else None
        if tensors is None:
            pixels = [pixels_of(index, self.channels, self.exif_rotation) for index in distinct]
            tensors = [show_at(torch.from_numpy(array), side, self.show) for array in pixels]
            if share and shared.can_share():
                tensors = shared.offer(tensors, key)
        return [tensors[distinct.index(index)] for index in indices]

    # ---- what the run says

    def _facts(self, train: Index) -> Facts | None:
        """What was found, with the number of channels or of as many."""
        return known_facts(train, self.exif_rotation, None) or known_facts(train, self.exif_rotation, self.channels)

    def _summary(self, indices: dict[str, Index]) -> str:
        facts, count = self._facts(indices["train"]), sum(map(len, indices.values()))
        size, colours = f" of {facts.sizes()}" if facts else "", "grey" if self.channels == 1 else "colour"
        if facts and self.resolution not in (None, facts.side):
            size += f", shown at {self.resolution}x{self.resolution}"
        mean, deviation = (", ".join(f"{value:.2f}" for value in values) for values in (self.mean, self.std))
        return (
            f"imagefolder: {self.num_classes} classes, {count:,} images{size}, {colours}; mean {mean}, "
            f"deviation {deviation}" + (" (found once, cached)" if facts else "")
        )

    def _notes(self, indices: dict[str, Index], roles: list[Index]) -> list[str]:
        notes = [note for index in indices.values() for note in index.notes()]
        train, counts, facts = indices["train"], indices["train"].counts(), self._facts(indices["train"])
        if facts and facts.unreadable:
            notes.append(f"{len(facts.unreadable)} of the images looked at cannot be read: {facts.unreadable[0]}")
        if counts.max() > IMBALANCE * counts.min():
            most, least = (f"{counts[i]:,} of {self.names[i]}" for i in (int(counts.argmax()), int(counts.argmin())))
            notes.append(f"the classes are unequal: {most}, {least}")
        for part, index in indices.items():
            lacking = sorted(set(train.classes) - set(index.classes) | set(empty_classes(index)))
            if lacking:
                notes.append(f"{part} lacks {len(lacking)} of the {len(train.classes)} classes: {listed(lacking)}")
            if index not in roles:
                notes.append(f"{shown(index.folder)} is not read: validation is datamodule.val_size={self.val_size}")
        if self.test_is_validation:
            notes.append(f"the test set is the validation set: {shown(self.root)} has no folder test")
        return notes


def _memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
