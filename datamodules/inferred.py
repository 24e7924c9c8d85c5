"""Data sets that do not say themselves what they are: what their YAML leaves null is found in their images."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.decoding.pixels import pixels_of
from lineage.datamodules.discovery.layout import listed
from lineage.datamodules.discovery.scanning import printable
from lineage.datamodules.discovery.statistics import Facts, bytes_of, cached_statistics, infer_missing, validation_size
from lineage.datamodules.encoded import EncodedDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, Images, TensorImages
from lineage.datamodules.loading import shared_memory as shared
from lineage.datamodules.memory import show_at
from lineage.datamodules.split import Split

IMBALANCE = 10  # how many times larger than the smallest class the largest may be before it is worth a word


class InferredDataModule(EncodedDataModule):
    """A data set in splits: train, and val and test if there are any.

    Args:
        name: what a message calls the set.
        num_classes, channels, mean, std: None: found, mean and std in up to 2,000 images.
        resolution: None: of squares of one size that fit in memory this size, 32 at least; of others what the recipe
            says.
        show: how images of one size come to another `resolution`: "resize" or "pad" (with zeros, centred).
        val_size: training images held out for validation; None: the set's own, and if it has none a tenth.
        exif_rotation: whether to turn a picture as its camera says.
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
            found = infer_missing(self.splits(), {"exif_rotation": exif_rotation, **given})
            given = {key: found[key] if value is None else value for key, value in given.items()}
        self.validation_is_own = given["val_size"] is None
        super().__init__(**{**given, "val_size": given["val_size"] or 0}, **facts)
        self.name, self.show, self.exif_rotation = name, show, exif_rotation

    @abstractmethod
    def splits(self) -> dict[str, Split]:
        """The splits by their roles, `train` first. Called before anything else is set. Raises DataError."""

    def load(self, *, share: bool = False) -> None:
        super().load(share=share)
        if self.test_is_validation:
            self.test = self.val

    def read(self, share: bool) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        splits = self.splits()
        train = splits["train"]
        if len(train.classes) != self.num_classes:
            raise DataError(
                f"{train.name} has {len(train.classes)} classes, and datamodule.num_classes={self.num_classes}: "
                "null finds them."
            )
        self.names, roles = train.classes, self._roles(splits)
        self.digest = train.digest
        self.notes = [self._summary(splits), *self._notes(splits, roles)]
        images: list[Images] = list(self._in_memory(roles, share) if self.resolution else map(self._encoded, roles))
        return (images[0], images[1], images[2]) if len(images) == 3 else (images[0], images[1])

    def _roles(self, splits: dict[str, Split]) -> list[Split]:
        """Training, validation and test; or training and test, where validation images are held out."""
        train, val, test = splits["train"], splits.get("val"), splits.get("test")
        if self.validation_is_own and val is None:
            self.validation_is_own, self.val_size = False, validation_size(train)
        if self.validation_is_own and val is not None:
            self.test_is_validation = test is None
            return [train, val, val if test is None else test]
        tested = val if test is None else test
        self.test_is_validation = tested is None
        if tested is None and not self.val_size:
            raise DataError(f"datamodule.val_size=0: {printable(self.root)} has no validation or test images.")
        return [train, train if tested is None else tested]

    def _encoded(self, split: Split) -> EncodedImages:
        return EncodedImages(split.blobs, torch.from_numpy(split.labels), self.channels, turn=self.exif_rotation)

    def _in_memory(self, splits: list[Split], share: bool) -> list[TensorImages]:
        """The images of each split at `resolution`; those of a split that comes twice are there once."""
        assert self.resolution is not None
        side, distinct = self.resolution, list(dict.fromkeys(splits))
        size = bytes_of(sum(map(len, distinct)), self.channels, side)
        if size > _memory() / 2:
            raise DataError(
                f"datamodule.resolution={side}: all images at this size are {size / 2**30:.1f} GiB, more than half of "
                "the memory of this machine."
            )
        shown_as = (side, self.show, self.channels, self.exif_rotation)
        key = repr([type(self).__name__, *shown_as, *(split.digest for split in distinct)])
        tensors: list[Tensor] | None = shared.offered(key) if share else None
        faults: list[dict[int, Fault]] = [{} for _ in distinct]
        if tensors is None:
            read = [pixels_of(split, self.channels, self.exif_rotation) for split in distinct]
            tensors = [show_at(torch.from_numpy(pixels), side, self.show) for pixels, _ in read]
            for split, found, (_, reasons) in zip(distinct, faults, read, strict=True):
                found.update({i: Fault(i, split.blobs.name(i), reason) for i, reason in reasons.items()})
            if any(faults):  # each rank finds them for itself
                self.report([fault for found in faults for fault in found.values()])
            elif share and shared.can_share():
                tensors = shared.offer(tensors, key)
        places = [distinct.index(split) for split in splits]
        return [
            TensorImages(tensors[place], torch.from_numpy(split.labels), faults=faults[place])
            for split, place in zip(splits, places, strict=True)
        ]

    # ---- what the run says

    def _facts(self, train: Split) -> Facts | None:
        """What was found, with the number of channels or of as many."""
        return cached_statistics(train, self.exif_rotation, None) or cached_statistics(
            train, self.exif_rotation, self.channels
        )

    def _summary(self, splits: dict[str, Split]) -> str:
        facts, count = self._facts(splits["train"]), sum(map(len, splits.values()))
        size, colours = f" of {facts.sizes()}" if facts else "", "grey" if self.channels == 1 else "colour"
        if facts and self.resolution not in (None, facts.side):
            size += f", shown at {self.resolution}x{self.resolution}"
        mean, deviation = (", ".join(f"{value:.2f}" for value in values) for values in (self.mean, self.std))
        return (
            f"{self.name}: {self.num_classes} classes, {count:,} images{size}, {colours}; mean {mean}, "
            f"deviation {deviation}" + (" (found once, cached)" if facts else "")
        )

    def _notes(self, splits: dict[str, Split], roles: list[Split]) -> list[str]:
        notes = [note for split in splits.values() for note in split.notes]
        train, facts = splits["train"], self._facts(splits["train"])
        counts = train.counts()
        if facts and facts.unreadable:
            notes.append(f"{len(facts.unreadable)} of the images looked at cannot be read: {facts.unreadable[0]}")
        if counts.max() > IMBALANCE * counts.min():
            most, least = (f"{counts[i]:,} of {train.classes[i]}" for i in (counts.argmax(), counts.argmin()))
            notes.append(f"the classes are unequal: {most}, {least}")
        for role, split in splits.items():
            lacking = [name for name, count in zip(split.classes, split.counts(), strict=True) if not count]
            if lacking:
                notes.append(f"{role} lacks {len(lacking)} of the {len(train.classes)} classes: {listed(lacking)}")
            if split not in roles:
                notes.append(f"{split.name} is not read: validation is datamodule.val_size={self.val_size}")
        if self.test_is_validation:
            notes.append(f"the test set is the validation set: {printable(self.root)} has no test images")
        return notes


def _memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
