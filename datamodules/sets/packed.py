"""A packed data set (datamodules/packing/shards.py), from a folder or from any URL that fsspec reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import numpy
import torch

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.encoded import EncodedDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Images
from lineage.datamodules.packing.shards import Packing, ShardBlobs, infer_missing


class Packed(EncodedDataModule):
    """What `lineage prepare out=DIR` has made.

    Args:
        root: DIR, or its URL: s3://bucket/folder. Shards of a URL are fetched whole when they are first read.
        cache: folder for what is fetched; None: in the user's cache.
        num_classes, channels, mean, std, mirror: None: as they were packed.
        resolution: none, the recipe's train_res and test_res count.
        val_size: training images held out for validation; None: the validation images that were packed, and if there
            are none the test set.
        window: images that training reads in random order before it moves on: it stays in few places of the shards,
            which suits disks that turn and storage far away; 0: all of them.
    """

    def __init__(
        self,
        *,
        root: str,
        cache: str | None,
        num_classes: Annotated[int, "1 <= x <= 1000000"] | None,
        channels: Literal[1, 3] | None,
        mean: Sequence[Annotated[float, "0 <= x <= 1"]] | None,
        std: Sequence[Annotated[float, "0 < x <= 1"]] | None,
        mirror: bool | None,
        resolution: None,
        val_size: Annotated[int, "x >= 0"] | None,
        window: Annotated[int, "x >= 0"],
        **facts: Any,
    ) -> None:
        given: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "mean": mean,
            "std": std,
            "mirror": mirror,
            "val_size": val_size,
        }
        if None in given.values():
            found = infer_missing({"root": root, "cache": cache, **given})
            given = {key: found[key] if value is None else value for key, value in given.items()}
        self.validation_is_own = given["val_size"] is None
        super().__init__(
            root=root,
            num_classes=given["num_classes"],
            channels=given["channels"],
            mean=given["mean"],
            std=given["std"],
            mirror=given["mirror"],
            resolution=resolution,
            val_size=given["val_size"] or 0,
            **facts,
        )
        self.url, self.cache, self.window = root, cache, window

    def class_names(self) -> list[str]:
        try:
            self.names = Packing(self.url, self.cache).facts["classes"]
        except DataError:  # it is elsewhere by now
            self.names = ()
        return super().class_names()

    def read(self, share: bool) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        packing = Packing(self.url, self.cache)
        self.packing = packing.digest
        self.names, counts = packing.facts["classes"], packing.facts["images"]
        if len(self.names) != self.num_classes:
            raise DataError(
                f"{self.url} has {len(self.names)} classes, and datamodule.num_classes={self.num_classes}: "
                "null takes them as they were packed."
            )
        self.notes = []
        if "val" in counts and not self.validation_is_own:
            self.notes.append(
                f"the {counts['val']:,} validation images of {self.url} are not read: "
                f"validation is datamodule.val_size={self.val_size}"
            )
        train, test = (self._images(packing, split) for split in ("train", "test"))
        sizes = cast(ShardBlobs, train.blobs).columns
        self.largest = int(numpy.minimum(sizes["height"], sizes["width"]).max())
        return (train, self._images(packing, "val"), test) if self.validation_is_own else (train, test)

    def _below_root(self, name: str) -> str:
        """The shard's name and the image's number: the folder, or a URL's cache, may be another when a run goes on."""
        return os.path.basename(name)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "packing": self.packing}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if state_dict["packing"] != self.packing:
            raise DataError(
                f"{self.url} was packed anew since the run was started, in another way or order: "
                "bring the other back, or choose another name, run=NAME."
            )

    def _images(self, packing: Packing, split: str) -> EncodedImages:
        blobs = packing.blobs(split)
        labels = torch.from_numpy(blobs.columns["label"].astype(numpy.int64))
        return EncodedImages(blobs, labels, self.channels, turn=packing.facts["exif_rotation"])
