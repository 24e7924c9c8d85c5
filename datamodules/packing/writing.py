"""Packs a data set into shards (datamodules/packing/shards.py), on all cores; stopped, it goes on at its last shard."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import PIL

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault
from lineage.datamodules.loading.parallel import parallel_map
from lineage.datamodules.packing import ledger
from lineage.datamodules.packing.inspection import encoded_splits, parts_of
from lineage.datamodules.packing.ledger import Record
from lineage.datamodules.packing.shard_files import add_image, open_shard, written_whole
from lineage.datamodules.packing.shards import COLUMNS, VERSION, index_name, shard_name
from lineage.datamodules.packing.storing import Settings, Stored, store

MEGABYTE = 1_000_000
Advance = Callable[[int], None]  # is told how many images more are done
Placed = tuple[int, Stored]  # an image and its place in the order of its split


class Report(NamedTuple):
    """What came of it. images: of each split; before, after: bytes; kept: images of shards that were there already."""

    images: dict[str, int]
    before: int
    after: int
    kept: int
    skipped: dict[str, str]


def pack(data: ImageDataModule, out: Path, settings: Settings, advance: Advance) -> Report | None:
    """Pack a loaded data set into the folder `out`; None if that was done before.

    Raises:
        DataError: `out` holds something else or cannot be written; images cannot be read, by datamodule.on_error.
    """
    splits = encoded_splits(data)
    if "train" not in splits or "test" not in splits:
        raise DataError(f"{data.root} has no {'test' if 'train' in splits else 'training'} images to pack.")
    made = _made(data, splits, settings)
    sizes = _sizes(splits)
    if not ledger.claim(out, made, sizes):
        return None
    kept, records = 0, {}
    for number, (split, images) in enumerate(splits.items()):
        order = numpy.random.default_rng((settings.seed, number)).permutation(len(images))
        packer = _Packer(split, images, order, data.report, out, settings)
        before = list(packer.kept())
        kept += sum(map(len, before))
        advance(before[-1].end if before else 0)
        records[split] = [*before, *packer.rest(before, advance)]
        if not records[split]:
            raise DataError(f"Of the {split} images none can be read.")
    return _finish(data.class_names(), out, made, records, kept, sizes)


def _sizes(splits: dict[str, EncodedImages]) -> str:
    """A digest of the bytes that each file has."""
    state = hashlib.blake2b(digest_size=16)
    for images in splits.values():
        places = range(len(images)) if images.samples is None else images.samples.tolist()
        state.update(images.blobs.stamp(places, dates=False).encode())
    return state.hexdigest()


def _made(data: ImageDataModule, splits: dict[str, EncodedImages], settings: Settings) -> dict[str, Any]:
    """What decides every byte of a packing; not where the files lie."""
    digest = hashlib.blake2b(json.dumps(data.class_names()).encode(), digest_size=16)
    root = os.path.abspath(data.root)
    for images in splits.values():
        digest.update(images.labels.numpy().tobytes())
        for sample in range(len(images)):
            digest.update(images.blobs.name(images.index(sample)).removeprefix(root).encode(errors="backslashreplace"))
    return {
        "of": type(data).__name__,
        "images": {split: len(images) for split, images in splits.items()},
        **settings._asdict(),
        "channels": data.channels,
        "mean": data.mean,
        "std": data.std,
        "mirror": data.mirror,
        "exif_rotation": splits["train"].turn,
        "digest": digest.hexdigest(),
        "pillow": PIL.__version__,
    }


class _Packer:
    """The way of one split into its shards.

    Args:
        order: (N,) int64, its samples as they follow in the shards.
        report: is told what cannot be read.
    """

    def __init__(
        self,
        split: str,
        images: EncodedImages,
        order: numpy.ndarray,
        report: Callable[[list[Fault]], None],
        out: Path,
        settings: Settings,
    ) -> None:
        self.split, self.images, self.order, self.report = split, images, order, report
        self.out, self.settings = out, settings
        self.skipped: list[list[str]] = []

    def kept(self) -> Iterator[Record]:
        """What an earlier command has finished, up to a shard of which files have changed since."""
        start = 0
        for record in ledger.records(self.out, self.split):
            if record.stamp not in ("", self._stamp(start, record.end)):
                return
            start = record.end
            for name, reason in record.skipped:
                self.report([Fault(0, name, reason)])
            yield record

    def _stamp(self, start: int, end: int) -> str:
        """A digest of the bytes that each file has, of a part of the order."""
        places = [self.images.index(int(sample)) for sample in self.order[start:end]]
        return self.images.blobs.stamp(places, dates=False)

    def rest(self, before: list[Record], advance: Advance) -> Iterator[Record]:
        """Make the other shards."""
        start, number = before[-1].end if before else 0, sum(map(len, before))
        made = parallel_map(partial(store, self.images, self.settings), parts_of(self.order[start:]))
        stream = self._readable(enumerate(chain.from_iterable(made), start), advance)
        shard, head = len(before), next(stream, None)
        while head is not None:
            record, head = self._shard(shard, number, start, head, stream)
            yield record
            start, shard, number = record.end, shard + 1, number + len(record)

    def _readable(self, results: Iterator[tuple[int, Stored | Fault]], advance: Advance) -> Iterator[Placed]:
        for place, result in results:
            if isinstance(result, Fault):
                self.report([result])
                self.skipped.append([result.name, result.reason])
            else:
                yield place, result
            advance(1)

    def _shard(
        self, shard: int, number: int, start: int, head: Placed, stream: Iterator[Placed]
    ) -> tuple[Record, Placed | None]:
        """Write a shard whose first image is `head`, the split's `number`-th; also the image that no longer fits.

        Args:
            start: the place in the order at which the shard before ends.
        """
        most, over, rows, before = self.settings.shard_size * MEGABYTE, None, list[tuple[int, ...]](), 0
        with open_shard(self.out / shard_name(self.split, shard)) as tar:
            for place, image in chain([head], stream):
                if rows and tar.offset + len(image.data) > most:
                    over = place, image
                    break
                offset = add_image(tar, number + len(rows), image.ending, image.data, image.label)
                rows.append((shard, offset, len(image.data), image.label, zlib.crc32(image.data), *image.size))
                before += image.before
        table = zip(COLUMNS.items(), zip(*rows, strict=True), strict=True)
        columns = {name: numpy.array(values, kind) for (name, kind), values in table}
        end = over[0] if over else len(self.order)
        record = Record(columns, end, before, self.skipped, self._stamp(start, end))
        self.skipped = []
        ledger.save(self.out, self.split, shard, record)
        return record, over


def _finish(
    classes: list[str], out: Path, made: dict[str, Any], records: dict[str, list[Record]], kept: int, sizes: str
) -> Report:
    """Write the index, and dataset.json last of all."""
    names, crc32 = [], {}
    for split, those in records.items():
        for column in COLUMNS:
            name, values = index_name(split, column), numpy.concatenate([record.columns[column] for record in those])
            with written_whole(out / name) as file:
                numpy.save(file, values)
            crc32[name] = zlib.crc32(values.tobytes())
        names += [shard_name(split, shard) for shard in range(len(those))]
        names += [index_name(split, column) for column in COLUMNS]
    every = [record for those in records.values() for record in those]
    skipped = {name: reason for record in every for name, reason in record.skipped}
    if skipped:
        with written_whole(out / "skipped.txt") as file:
            file.write(
                "".join(f"{name}\t{reason}\n" for name, reason in skipped.items()).encode(errors="backslashreplace")
            )
    images = {split: sum(map(len, those)) for split, those in records.items()}
    files = {name: (out / name).stat().st_size for name in names}
    facts = {
        "version": VERSION,
        "classes": classes,
        **{key: made[key] for key in ("channels", "mean", "std", "mirror", "exif_rotation")},
        "images": images,
        "files": files,
        "crc32": crc32,  # of the numbers of each file of the index
        "made": made,
        "sizes": sizes,  # of the files that it was made of
    }
    ledger.write_json(out / "dataset.json", facts)
    ledger.release(out)
    return Report(images, sum(record.before for record in every), sum(files.values()), kept, skipped)
