"""The base class of data sets whose YAML may leave properties null: they are inferred from the images."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.decoding.pixels import decode_all
from lineage.datamodules.discovery.scanning import listed, printable
from lineage.datamodules.discovery.statistics import Statistics, cached_statistics, validation_size
from lineage.datamodules.encoded import EncodedDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, Images, TensorImages, resize_or_pad
from lineage.datamodules.split import Split, labels_among
from lineage.text import CAREFUL, DANGER

IMBALANCE = 10  # a note is made when the largest class has more than 10 times the images of the smallest


class InferredDataModule(EncodedDataModule):
    """A data set of splits: train, and val and test if there are any.

    Args:
        name: the data set's name in messages.
        num_classes, channels, mean, std: null in a YAML: inferred before this is built (`infer_missing`).
        resolution: null in a YAML: inferred too. If all images are squares of one size and fit in memory, it is that
            size, at least 32; otherwise the recipe decides, and it is None.
        show: how images of one size get another `resolution`: "resize" or "pad" (with zeros, centred).
        val_size: training images held out for validation; None: the data set's validation images, or a tenth of the
            training images if there are none.
        folds, fold: with `val_size` None, the training images in so many folds, of which this one is validation.
        exif_rotation: whether to rotate a picture as its EXIF orientation says.
    """

    def __init__(
        self,
        *,
        name: str,
        num_classes: Annotated[int, "1 <= x <= 1000000"] | None,
        channels: Literal[1, 3] | None,
        mean: Sequence[Annotated[float, "0 <= x <= 1"]] | None,
        std: Sequence[Annotated[float, "0 < x <= 1"]] | None,
        resolution: Annotated[int, "1 <= x <= 1024"] | None,
        show: Literal["resize", "pad"],
        val_size: Annotated[int, "x >= 0"] | None,
        exif_rotation: bool,
        folds: Annotated[int, "2 <= x <= 1000"] | None = None,
        fold: Annotated[int, "x >= 0"] | None = None,
        **options: Any,
    ) -> None:
        self.fold_of = (fold, folds) if fold is not None and folds is not None else None
        self.has_validation = val_size is None and folds is None
        given: dict[str, Any] = {"num_classes": num_classes, "channels": channels, "mean": mean, "std": std}
        super().__init__(**given, resolution=resolution, val_size=val_size or 0, **options)
        self.name, self.show, self.exif_rotation = name, show, exif_rotation

    @abstractmethod
    def splits(self) -> dict[str, Split]:
        """The splits by role, `train` first. Raises DataError."""

    def class_names(self) -> list[str]:
        if not self.names:
            try:
                self.names = self.splits()["train"].classes
            except DataError:  # the data have been moved
                self.names = ()
        return super().class_names()

    def load(self) -> None:
        super().load()
        if self.test_is_validation:
            self.test = self.val

    def read(self) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        splits = self.splits()
        first = next(iter(splits.values()))
        others = self.learned is not None and not self._are_those_of_training(splits)
        if others:
            splits = self._match_classes(splits)
            first = next(iter(splits.values()))
        if len(first.classes) != self.num_classes:
            raise DataError(
                f"{first.name} has {len(first.classes)} classes, and datamodule.num_classes={self.num_classes}: "
                "set it to null, and they are counted."
            )
        used = self._evaluation_splits(splits) if others else self._training_splits(splits)
        self.names, self.digest = first.classes, first.digest
        self.validation = used[1].digest if len(used) == 3 or not self.val_size else None
        measured = cached_statistics(first, self.exif_rotation, None, self.channels)
        self.notes = [self._summary(splits, measured), *self._notes(splits, used, measured)]
        if others and list(splits) == ["train"]:
            self.notes.append("all images are tested, since they are not those of the training, or not only those")
        images: list[Images] = list(self._in_memory(used) if self.resolution else map(self._encoded, used))
        if others:
            images = [part.subset((part.labels >= 0).nonzero()[:, 0]) for part in images]
            images[0] = images[0] if "train" in splits else images[0].subset(torch.arange(0))
        return (images[0], images[1], images[2]) if len(images) == 3 else (images[0], images[1])

    def _are_those_of_training(self, splits: dict[str, Split]) -> bool:
        """Whether they are the images of the training, split in the same way."""
        held_out = self.fold_of is not None or (not self.has_validation and self.val_size > 0)
        return next(iter(splits.values())).digest == self.trained_on and (held_out or len(splits) > 1)

    def _match_classes(self, splits: dict[str, Split]) -> dict[str, Split]:
        """The splits with the weights' class numbers, matched by name; -1: the weights lack the class."""
        learned, here = self.learned or [], next(iter(splits.values())).classes
        unknown = [name for name in here if name not in learned]
        if len(unknown) == len(here) == len(learned):
            return splits  # no name matches, perhaps in another language: classes match by order, and a note says so
        if len(unknown) == len(here):
            place = printable(self.root)
            raise DataError(f"{place} has the classes {listed(here)}, and the weights know {listed(learned)}.")
        matched = {}
        for role, split in splits.items():
            labels, notes = labels_among(split, learned), list(split.notes)
            if left_out := int((labels < 0).sum()):
                notes.append(
                    f"{split.name}: {left_out:,} images are left out: the weights do not know {listed(unknown)}"
                )
            matched[role] = replace(split, labels=labels, classes=learned, notes=notes)
        return matched

    def _evaluation_splits(self, splits: dict[str, Split]) -> list[Split]:
        """Training, validation and test split in an evaluation of other images; none is held out."""
        roles = [role for role in ("test", "val", "train") if role in splits]
        self.test_is_validation = roles[0] == "val" and len(roles) > 1
        return [splits[role if role in splits else roles[0]] for role in ("train", "val", "test")]

    def _training_splits(self, splits: dict[str, Split]) -> list[Split]:
        """Training, validation and test split; or training and test, if validation images are held out."""
        if self.fold_of:
            self.val_size = len(splits["train"]) // self.fold_of[1]
        elif self.has_validation and "val" not in splits:
            self.has_validation, self.val_size = False, validation_size(splits["train"])
        test = "test" if "test" in splits else "val" if "val" in splits else "train"
        self.test_is_validation = test == "train" or (self.has_validation and test == "val")
        if test == "train" and not self.val_size:
            raise DataError(f"datamodule.val_size=0: {printable(self.root)} has no validation or test images.")
        roles = ("train", "val", test) if self.has_validation else ("train", test)
        return [splits[role] for role in roles]

    def _encoded(self, split: Split) -> EncodedImages:
        return EncodedImages(split.blobs, torch.from_numpy(split.labels), self.channels, rotate=self.exif_rotation)

    def _in_memory(self, splits: list[Split]) -> list[TensorImages]:
        """The images of each split at `resolution`. A split that is listed twice is in memory once."""
        assert self.resolution is not None
        side, distinct = self.resolution, list(dict.fromkeys(splits))
        size = sum(map(len, distinct)) * self.channels * side**2  # bytes
        if size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2:
            raise DataError(
                f"datamodule.resolution={side}: all images at this size are {size / 2**30:.1f} GiB, more than half of "
                "this machine's memory."
            )
        images: dict[Split, TensorImages] = {}
        for split in distinct:
            pixels, reasons = decode_all(split.blobs, self.channels, self.exif_rotation, split.name)
            shown = resize_or_pad(torch.from_numpy(pixels), side, self.show)
            images[split] = TensorImages(shown, torch.from_numpy(split.labels))
            if reasons:
                self.report([Fault(i, split.blobs.name(i), reason) for i, reason in reasons.items()])
                readable = [i for i in range(len(split)) if i not in reasons]
                images[split] = images[split].subset(torch.tensor(readable))
        return [images[split] for split in splits]

    # ---- notes

    def _summary(self, splits: dict[str, Split], measured: Statistics | None) -> str:
        names = next(iter(splits.values())).classes
        size, colours = f" of {measured.sizes()}" if measured else "", "grey" if self.channels == 1 else "colour"
        if measured and self.resolution not in (None, measured.side):
            size += f", shown at {self.resolution}x{self.resolution}"
        first = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        mean, deviation = (", ".join(f"{value:.2f}" for value in values) for values in (self.mean, self.std))
        return (
            f"{self.name}: {len(names)} classes ({first}), {sum(map(len, splits.values())):,} images{size}, {colours}; "
            f"mean {mean}, deviation {deviation}" + (" (measured once, cached)" if measured else "")
        )

    def _notes(self, splits: dict[str, Split], used: list[Split], measured: Statistics | None) -> list[str]:
        notes = [note for split in splits.values() for note in split.notes]
        train = next(iter(splits.values()))
        counts = train.counts()
        if measured and measured.unreadable:
            count = len(measured.unreadable)
            notes.append(f"{count} of the sampled images cannot be read: {measured.unreadable[0]}")
        if self.learned is None and counts.max() > IMBALANCE * counts.min():
            most, least = (f"{counts[i]:,} of {train.classes[i]}" for i in (counts.argmax(), counts.argmin()))
            notes.append(f"{CAREFUL}the classes are unequal: {most}, {least}")
        for split in splits.values():
            missing = [name for name, count in zip(split.classes, split.counts(), strict=True) if not count]
            if missing:
                lacks = f"{split.name} lacks {len(missing)} of the {len(train.classes)} classes"
                notes.append(f"{CAREFUL}{lacks}: {listed(missing)}")
            if split not in used:
                notes.append(f"{split.name} is not read: validation is {self.val_size} images of train")
        if self.test_is_validation:
            why = f"{printable(self.root)} has no labelled test images"
            notes.append(f"{DANGER}the test set is the validation set: {why}")
        return notes
