"""Packs a data set into shards (datamodules/packing/shards.py): encoded on all cores, written by one process.

Until all shards are finished a record lies beside each finished one, DIR/train-000000.json. A packing that was stopped
keeps the shards that are whole, of the same files and of the same settings, and makes the others again.
"""

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import PIL

from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault
from lineage.datamodules.loading.parallel import parallel_map
from lineage.datamodules.packing.inspection import chunks, encoded_splits
from lineage.datamodules.packing.shards import COLUMNS, DESCRIPTION, SPLITS, VERSION, index_name, shard_name
from lineage.datamodules.packing.storing import Settings, Stored, store
from lineage.files import cannot_write, read_json, replacing

Advance = Callable[[int], None]  # called with the number of images that were done since the last call


class Report(NamedTuple):
    """What was packed. images: of each split; before, after: bytes; kept: images in shards of an earlier command."""

    images: dict[str, int]
    before: int
    after: int
    kept: int
    skipped: dict[str, str]


def pack(data: ImageDataModule, out: Path, settings: Settings, advance: Advance) -> Report | None:
    """Pack a loaded data set into the folder `out`; None if it is packed already. Raises DataError: `out` holds
    something else or cannot be written; images cannot be read, by datamodule.on_error."""
    splits = encoded_splits(data)
    if "train" not in splits or "test" not in splits:
        raise DataError(f"{data.root} has no {'test' if 'train' in splits else 'training'} images to pack.")
    packers = [_Packer(data, split, number, out, settings) for number, split in enumerate(splits)]
    sources = json.dumps([data.class_names(), [packer.sources for packer in packers]])
    made = {  # what decides every byte of a packing; not where the files lie
        "of": type(data).__name__,
        "images": {split: len(images) for split, images in splits.items()},
        **settings._asdict(),
        **{key: getattr(data, key) for key in ("channels", "mean", "std", "mirror")},
        "exif_rotation": splits["train"].rotate,
        "digest": hashlib.blake2b(sources.encode(), digest_size=16).hexdigest(),
        "pillow": PIL.__version__,
    }
    try:
        if _is_finished(out, made):
            return None
        for packer in packers:
            packer.pack(advance)
        return _finish(data.class_names(), out, made, packers)
    except OSError as error:
        raise DataError(cannot_write(out, error, "choose another out=DIR")) from None


def _is_finished(out: Path, made: dict[str, Any]) -> bool:
    """Whether nothing is left to do; marks the folder as a packing's. Raises DataError: it holds something else."""
    out.mkdir(parents=True, exist_ok=True)
    file, facts = out / DESCRIPTION, {"made": made}
    if any(not path.name.startswith((".lock", f"{DESCRIPTION}.")) for path in out.iterdir()):
        try:
            facts = dict(read_json(file))
            before = dict(facts["made"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            raise DataError(f"{out} holds something else than a packed data set: name another, out=DIR.") from None
        differing = [key for key, value in made.items() if before.get(key) != value]
        if differing and "files" in facts:
            key = differing[0]
            raise DataError(
                f"{out} holds another packing: its {key} is {before.get(key)}, and this command's is {made[key]}.\n"
                "Name another folder, out=DIR, or remove it."
            )
    if "files" not in facts:
        _write_json(file, {"version": VERSION, "made": made})
    return "files" in facts


class _Packer:
    """Packs one split.

    Attributes:
        parts: the samples of each shard, in a random order.
        sources: a digest for each shard, of the settings, and of the names, labels and sizes of its files.
        kept: images in shards of an earlier command.
    """

    def __init__(self, data: ImageDataModule, split: str, number: int, out: Path, settings: Settings) -> None:
        self.split, self.out, self.settings, self.report = split, out, settings, data.report
        self.images, self.root, self.kept = encoded_splits(data)[split], os.path.abspath(data.root), 0
        order = numpy.random.default_rng((settings.seed, number)).permutation(len(self.images))
        size = settings.images_per_shard
        self.parts = [order[start : start + size] for start in range(0, len(order), size)]
        self.sources = [self._source(samples.tolist()) for samples in self.parts]

    def _source(self, samples: list[int]) -> str:
        settings = [*self.settings, self.images.channels, self.images.rotate, PIL.__version__]
        names = [self.images.name(sample).removeprefix(self.root) for sample in samples]
        stamp = self.images.blobs.stamp([self.images.index(sample) for sample in samples], dates=False)
        source = json.dumps([settings, names, self.images.labels[samples].tolist(), stamp])
        return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()

    def pack(self, advance: Advance) -> None:
        """Make the shards that are missing. Raises DataError: no image of the split can be read."""
        missing = [shard for shard in range(len(self.parts)) if not self._is_finished(shard)]
        self.kept = sum(map(len, self.parts)) - sum(len(self.parts[shard]) for shard in missing)
        advance(self.kept)
        work = [chunk for shard in missing for chunk in chunks(self.parts[shard])]
        stored = chain.from_iterable(parallel_map(partial(store, self.images, self.settings), work))
        for shard in missing:
            self._make(shard, islice(stored, len(self.parts[shard])), advance)

    def _is_finished(self, shard: int) -> bool:
        try:
            record = self.record(shard)
            if (record["source"], record["checksum"]) != (self.sources[shard], _checksum(self._path(shard))):
                return False
        except (OSError, ValueError, TypeError, KeyError):
            return False
        for name, reason in record["skipped"].items():
            self.report([Fault(0, name, reason)])
        return True

    def _make(self, shard: int, stored: Iterable[Stored | Fault], advance: Advance) -> None:
        rows, before, skipped, path = list[tuple[int, ...]](), 0, dict[str, str](), self._path(shard)
        with replacing(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number, result in enumerate(stored, shard * self.settings.images_per_shard):
                advance(1)
                if isinstance(result, Fault):
                    self.report([result])
                    skipped[result.name] = result.reason
                    continue
                offset, length, crc32 = _add(tar, number, result), len(result.data), zlib.crc32(result.data)
                rows.append((shard, offset, length, result.label, crc32, *result.size))
                before += result.before
        record = {"rows": rows, "before": before, "skipped": skipped, "source": self.sources[shard]}
        _write_json(path.with_suffix(".json"), {**record, "checksum": _checksum(path)})

    def record(self, shard: int) -> dict[str, Any]:
        """What a shard holds: `rows` of the values of COLUMNS; the bytes `before` of the files that it was made of;
        images `skipped`, with the reason; digests of these files and the settings, and of the shard itself."""
        return json.loads(self._path(shard).with_suffix(".json").read_bytes())

    def _path(self, shard: int) -> Path:
        return self.out / shard_name(self.split, shard)


def _add(tar: tarfile.TarFile, number: int, image: Stored) -> int:
    """Add an image and its label, without time or owner, so that the same images give the same bytes. Returns the bytes
    before the image in the shard."""
    offset = tar.offset + tarfile.BLOCKSIZE  # a header of ustar is one block
    for ending, data in ((image.ending, image.data), ("cls", str(image.label).encode())):
        info = tarfile.TarInfo(f"{number:012d}.{ending}")
        info.size = len(data)
        tar.addfile(info, BytesIO(data))
    return offset


def _finish(classes: list[str], out: Path, made: dict[str, Any], packers: list[_Packer]) -> Report:
    """Write the index and dataset.json, and remove the records."""
    names, crc32, images, before, skipped = [], {}, {}, 0, dict[str, str]()
    for packer in packers:
        split, records = packer.split, [packer.record(shard) for shard in range(len(packer.parts))]
        rows = numpy.array([row for record in records for row in record["rows"]], numpy.int64)
        if not len(rows):
            raise DataError(f"None of the {split} images can be read.")
        names += [shard_name(split, shard) for shard in range(len(records))]
        (out / index_name(split, "")).parent.mkdir(parents=True, exist_ok=True)
        for (column, kind), values in zip(COLUMNS.items(), rows.T, strict=True):
            name, values = index_name(split, column), values.astype(kind)
            with replacing(out / name) as file:
                numpy.save(file, values)
            names.append(name)
            crc32[name] = zlib.crc32(values.tobytes())
        images[split], before = len(rows), before + sum(record["before"] for record in records)
        skipped |= {name: reason for record in records for name, reason in record["skipped"].items()}
    if skipped:
        with replacing(out / "skipped.txt") as file:
            file.writelines(f"{name}\t{why}\n".encode(errors="backslashreplace") for name, why in skipped.items())
    facts = {
        "version": VERSION,
        "classes": classes,
        **{key: made[key] for key in ("channels", "mean", "std", "mirror", "exif_rotation")},
        "images": images,
        "files": {name: (out / name).stat().st_size for name in names},
        "crc32": crc32,  # of the numbers in each file of the index
        "made": made,
    }
    _write_json(out / DESCRIPTION, facts)
    for path in [path for split in SPLITS for path in out.glob(f"{split}-??????.*")]:
        if path.name not in names:  # a record, a shard of other settings, or what a kill left half-written
            path.unlink()
    return Report(images, before, sum(facts["files"].values()), sum(packer.kept for packer in packers), skipped)


def _write_json(path: Path, content: Any) -> None:
    with replacing(path, "w") as file:
        file.write(json.dumps(content))


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).hexdigest()
