"""Any image classification set of the Hugging Face Hub by its name, or one that its package has saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from datamodules import shared
from datamodules.base import EncodedDataModule
from datamodules.encoded import EncodedImages
from datamodules.errors import DataError
from datamodules.hub import Part, load_parts
from datamodules.hub_facts import facts_of, find_nulls, pixels_of, validation_size
from datamodules.images import Images, TensorImages
from datamodules.memory import show_at


class HuggingFace(EncodedDataModule):
    """A set that the package `datasets` loads, and whose rows have an image and a label.

    Args:
        name: at huggingface.co/datasets, "uoft-cs/cifar10"; or a folder, of images or of what the package has saved.
        config: of several that a set has; None: the only one.
        train_split, val_split, test_split: their names there; None: those that are called so.
        image_column, label_column: None: the only one of the kind.
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
        config: str | None,
        train_split: str | None,
        val_split: str | None,
        test_split: str | None,
        image_column: str | None,
        label_column: str | None,
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
        self.place: dict[str, Any] = {
            "name": name,
            "config": config,
            "train_split": train_split,
            "val_split": val_split,
            "test_split": test_split,
            "image_column": image_column,
            "label_column": label_column,
        }
        given: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "mean": mean,
            "std": std,
            "resolution": resolution,
            "val_size": val_size,
        }
        if None in (num_classes, channels, mean, std):
            found = find_nulls({**self.place, **given, "exif_rotation": exif_rotation})
            given = {key: found[key] if value is None else value for key, value in given.items()}
        self.validation_is_own = given["val_size"] is None
        super().__init__(root=name, **{**given, "val_size": given["val_size"] or 0}, **facts)
        self.show, self.exif_rotation = show, exif_rotation

    def class_names(self) -> list[str]:
        if not self.names:
            try:
                self.names = load_parts(self.place)["train"].classes
            except DataError:  # the set is elsewhere by now
                self.names = ()
        return super().class_names()

    def load(self, *, share: bool = False) -> None:
        super().load(share=share)
        if self.test_is_validation:
            self.test = self.val

    def read(self, share: bool) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        parts = load_parts(self.place)
        train = parts["train"]
        if len(train.classes) != self.num_classes:
            raise DataError(
                f"{self.place['name']} has {len(train.classes)} classes, and datamodule.num_classes="
                f"{self.num_classes}: null finds them."
            )
        self.names, roles = train.classes, self._roles(parts)
        self.notes = self._notes(parts, roles)
        labels = [torch.from_numpy(part.labels) for part in roles]
        if self.resolution is None:
            images: list[Images] = [
                EncodedImages(part.rows, those, self.channels, turn=self.exif_rotation)
                for part, those in zip(roles, labels, strict=True)
            ]
        else:
            images = list(map(TensorImages, self._tensors(roles, share), labels))
        return (images[0], images[1], images[2]) if len(images) == 3 else (images[0], images[1])

    def _roles(self, parts: dict[str, Part]) -> list[Part]:
        """Training, validation and test; or training and test, where validation images are held out."""
        train, val, test = parts["train"], parts.get("val"), parts.get("test")
        if self.validation_is_own and val is None:
            self.validation_is_own, self.val_size = False, validation_size(train)
        self.test_is_validation = test is None and (self.validation_is_own or val is None)
        if self.validation_is_own and val is not None:
            return [train, val, test or val]
        if self.test_is_validation and not self.val_size:
            raise DataError(f"datamodule.val_size=0: {self.place['name']} has no validation or test images.")
        return [train, test or val or train]

    def _tensors(self, parts: list[Part], share: bool) -> list[Tensor]:
        """The images of each part at `resolution`; those of a part that comes twice are there once."""
        assert self.resolution is not None
        distinct = list(dict.fromkeys(parts))
        shown_as = (self.resolution, self.show, self.channels, self.exif_rotation)
        key = repr([type(self).__name__, *shown_as, *(part.fingerprint for part in distinct)])
        tensors = shared.offered(key) if share else None
        if tensors is None:
            pixels = [torch.from_numpy(pixels_of(part, self.channels, self.exif_rotation)) for part in distinct]
            tensors = [show_at(array, self.resolution, self.show) for array in pixels]
            if share and shared.can_share():
                tensors = shared.offer(tensors, key)
        return [tensors[distinct.index(part)] for part in parts]

    def _notes(self, parts: dict[str, Part], roles: list[Part]) -> list[str]:
        name, train = self.place["name"], parts["train"]
        count, facts = sum(len(part.rows) for part in parts.values()), facts_of(train, self.exif_rotation, None)
        colours, splits = "grey" if self.channels == 1 else "colour", ", ".join(part.name for part in parts.values())
        notes = [f"{name} ({splits}): {self.num_classes} classes, {count:,} images of {facts.sizes()}, {colours}"]
        for part in parts.values():
            if part not in roles:
                notes.append(f"split {part.name} is not read: validation is datamodule.val_size={self.val_size}")
        if self.test_is_validation:
            notes.append(f"the test set is the validation set: {name} has no test images with labels")
        return notes
