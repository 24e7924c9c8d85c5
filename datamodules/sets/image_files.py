"""Image files that a trained network is asked about: no split, and labels only if their folders have class names."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import torch

from lineage.datamodules.decoding.decoding import ImageError, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.discovery.ground_truth import known_classes
from lineage.datamodules.discovery.index import index_files
from lineage.datamodules.discovery.scanning import images_below
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, TensorImages, View, resize_or_pad
from lineage.datamodules.loading.loader import EvaluationLoader, Stream
from lineage.datamodules.loading.worker_pool import Job, Pool, cores_of_rank
from lineage.files import reason

FEW = 64  # images that this process decodes itself, sooner than worker processes start


def find_images(places: Sequence[str]) -> list[bytes]:
    """The paths of image files, each once. places: files of any name; folders, of which all images below are taken;
    patterns such as photos/*.png. Raises DataError: a place is none of these, or holds no image."""
    found: dict[bytes, None] = {}
    for place in map(os.path.expanduser, places):
        matches = [place] if os.path.lexists(place) else sorted(glob.glob(place, recursive=True))
        paths = [p for match in matches for p in (images_below(Path(match)) if os.path.isdir(match) else [match])]
        if not paths:
            raise DataError(f"images={place}: there is no such file, and no folder with images.")
        found |= dict.fromkeys(map(os.fsencode, paths))
    return list(found)


class ImageFiles:
    """Image files as an evaluation has them.

    Args:
        paths: of the files.
        classes: their names, in the order of the labels. A file in a folder of such a name has that label, as has one
            in a folder named by ImageNet's number of the class; other files have -1.
        channels: 1, grey, or 3.
        rotate: whether to rotate a picture as its EXIF orientation says.
        view: the crop of photographs; None: each image is brought to `resolution` as `show` says.
        resolution: pixels of a side.
        show: "resize" or "pad" (with zeros, centred).
    """

    def __init__(
        self, paths: Sequence[bytes], classes: Sequence[str], *, channels: int, rotate: bool,
        view: View | None, resolution: int, show: str,
    ) -> None:  # fmt: skip
        folders = [os.path.basename(os.path.dirname(os.path.abspath(os.fsdecode(path)))) for path in paths]
        numbers = {name: label for label, name in enumerate(classes)}
        if any(re.fullmatch(r"n\d{8}", folder) for folder in folders) and not numbers.keys() & {*folders}:
            numbers = {wnid: label for label, wnid in enumerate(known_classes()) if len(classes) == 1000}
        self.labels = torch.tensor([numbers.get(folder, -1) for folder in folders])
        self.index, self.view = index_files(Path.cwd(), list(paths), [""], [""] * len(paths)), view
        self.channels, self.rotate, self.resolution, self.show = channels, rotate, resolution, show

    def loader(
        self, batch_size: int, device: torch.device, report: Callable[[Iterable[Fault]], None]
    ) -> EvaluationLoader:
        """Batches of uint8 images, without those that cannot be read, of which `report` is told."""
        if self.view is None:
            job = Job(self._small_images(report).to(device), None)
            return EvaluationLoader(Stream("test", job, device, None, report), batch_size, 1, 0)
        job = Job(EncodedImages(self.index, self.labels, self.channels, rotate=self.rotate), self.view)
        pool = cache(partial(Pool, {"test": job}, cores_of_rank(1), job.max_bytes(batch_size, 1), 2, device))
        stream = Stream("test", job, device, pool if len(self.labels) > FEW else None, report)
        return EvaluationLoader(stream, batch_size, 1, 0)

    def _small_images(self, report: Callable[[Iterable[Fault]], None]) -> TensorImages:
        """All images that can be read, at `resolution`, in memory."""
        numbers, found = [], [torch.empty(0, self.channels, self.resolution, self.resolution, dtype=torch.uint8)]
        for number in range(len(self.labels)):
            try:
                pixels = torch.tensor(open_image(self.index.read(number), self.channels, self.rotate).whole())
                found.append(resize_or_pad(pixels.permute(2, 0, 1)[None], self.resolution, self.show))
                numbers.append(number)
            except (OSError, ImageError) as error:
                report([Fault(number, self.index.name(number), reason(error))])
        paths = [self.index.path(number) for number in numbers]
        self.index, self.labels = index_files(Path.cwd(), paths, [""], [""] * len(paths)), self.labels[numbers]
        return TensorImages(torch.cat(found), self.labels)
