"""Tars written by lineage prepare, in a folder or at a URL that fsspec reads, or in WebDataset's layout."""

from typing import Annotated, Any, cast

import numpy

from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.images import Images
from lineage.datamodules.inferred import InferredDataModule
from lineage.datamodules.packing.blobs import ShardBlobs
from lineage.datamodules.packing.shards import open_splits, packed_exif_rotation
from lineage.datamodules.split import Split


class Packed(InferredDataModule):
    """Shards that `lineage prepare out=DIR` wrote, or tars of KEY.jpg and KEY.cls or KEY.json.

    Args:
        root: DIR or, for shards of lineage prepare, its URL: s3://bucket/folder. They are fetched whole when they are
            first read.
        cache: folder for what is fetched; None: in the user's cache.
        mirror, exif_rotation: null in a YAML: as they were packed; other tars are mirrored, and rotated by EXIF.
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
        mirror: bool | None,
        exif_rotation: bool | None,
        resolution: None,
        window: Annotated[int, "x >= 0"],
        **options: Any,
    ) -> None:
        self.url, self.cache = root, cache
        if exif_rotation is None:
            exif_rotation = packed_exif_rotation(root, cache)
        own: dict[str, Any] = {"mirror": mirror, "exif_rotation": exif_rotation, "resolution": resolution}
        super().__init__(name="packed", root=root, show="resize", **own, **options)
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
