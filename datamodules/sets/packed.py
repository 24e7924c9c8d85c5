"""Tars written by lineage prepare, or in WebDataset's layout, in a folder or at a URL that fsspec reads."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import numpy

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.images import Images
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.packing.blobs import ShardBlobs
from lineage.datamodules.packing.shards import infer_missing, open_splits, packed_exif_rotation
from lineage.datamodules.split import Split


class Packed(InferredDataModule):
    """Shards that `lineage prepare out=DIR` wrote, or tars of KEY.jpg and KEY.cls or KEY.json.

    Args:
        root: DIR, or its URL: s3://bucket/folder. Shards of a URL are fetched whole when they are first read; other
            tars all at once, to be indexed.
        cache: folder for what is fetched; None: in the user's cache.
        num_classes, channels, mean, std, mirror, exif_rotation: None: as they were packed; for other tars inferred
            from up to 2,000 images, mirrored, and rotated by EXIF.
        resolution: None; the recipe's train_res and test_res decide.
        val_size: training images held out for validation; None: the validation images that were packed. Without
            any, a packing validates on the test set, and other tars hold out a tenth of the training images.
        window: images that training reads in random order before it moves on: it reads in few places of the shards,
            which suits hard disks and remote storage; 0: all of them.
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
        exif_rotation: bool | None,
        resolution: None,
        val_size: Annotated[int, "x >= 0"] | None,
        window: Annotated[int, "x >= 0"],
        **options: Any,
    ) -> None:
        self.url, self.cache = root, cache
        given: dict[str, Any] = {"num_classes": num_classes, "channels": channels, "mean": mean, "std": std}
        given |= {"mirror": mirror, "val_size": val_size}
        if None in given.values():
            found = infer_missing({"root": root, "cache": cache, "exif_rotation": exif_rotation, **given})
            given = {key: found[key] if value is None else value for key, value in given.items()}
        if exif_rotation is None:
            exif_rotation = packed_exif_rotation(root, cache)
        own = {"exif_rotation": exif_rotation, **given}
        super().__init__(name="packed", root=root, resolution=resolution, show="resize", **own, **options)
        self.window = window

    def splits(self) -> dict[str, Split]:
        return open_splits(self.url, self.cache)

    def read(self) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        images = super().read()
        blobs = cast(ShardBlobs, cast(EncodedImages, images[0]).blobs)
        self.folder = blobs.place.folder
        if "height" in blobs.columns:
            self.largest = int(numpy.minimum(blobs.columns["height"], blobs.columns["width"]).max())
        return images

    def _below_root(self, name: str) -> str:
        """The name of an image without the folder, or a URL's cache, which may be another when a run continues."""
        return name.removeprefix(f"{self.folder}/")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        digest = {"images": state_dict["packing"]} if "packing" in state_dict else {}  # of an older run
        super().load_state_dict({**state_dict, **digest})
