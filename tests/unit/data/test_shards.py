"""Packed data: anybody reads what was written; damage is reported; folders and URLs."""

import io
import json
import os
import pickle
import shutil
import tarfile
import zlib

import fsspec
import numpy
import pytest
import torch
from conftest import composed
from data_sets import loaded, sizes
from photographs import encoded, photographs
from PIL import Image

from lineage.datamodules.errors import DataError
from lineage.datamodules.packing import blobs as blobs_module
from lineage.datamodules.packing import remote
from lineage.datamodules.packing.inspection import encoded_splits, find_unreadable
from lineage.datamodules.packing.shards import Packing, open_splits
from lineage.datamodules.packing.storing import Settings, encode
from lineage.datamodules.packing.writing import pack
from lineage.datamodules.sets.packed import Packed
from lineage.recipes.augment.host import EvalCrop

RNG = numpy.random.default_rng(0)
KEEP = Settings(None, 90, 100, 0)
THREE = KEEP._replace(images_per_shard=3)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A packing that is only read."""
    tmp_path = tmp_path_factory.mktemp("small")
    packed(folder(tmp_path / "data"), tmp_path / "out")
    return tmp_path / "out"


def picture(height: int = 40, width: int = 60) -> Image.Image:
    small = Image.fromarray(RNG.integers(0, 256, (5, 6, 3), dtype=numpy.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, exif=exif)


def folder(root, train: int = 6, test: int = 2):
    """ROOT/{train,test}/{ant,bee}"""
    for part, count in (("train", train), ("test", test)):
        for name in ("ant", "bee"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                (root / part / name / f"{i}.jpg").write_bytes(encoded(picture(40 + i)))
    return root


def opened(name: str, root, *words: str):
    return loaded(name, f"root={root}", *words)


def packed(source, out, settings: Settings = KEEP, *words: str):
    return pack(opened("imagefolder", source, "val_size=0", *words), out, settings, lambda count: None)


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- written and read


def test_a_packing_holds_the_same_files_in_an_order_of_its_own(tmp_path):
    source = folder(tmp_path / "data", train=9)
    report = packed(source, tmp_path / "out", THREE)
    assert report.images == {"train": 18, "test": 4} and report.kept == 0 and not report.skipped
    assert len(list((tmp_path / "out").glob("train-*.tar"))) == 6
    data = opened("packed", tmp_path / "out")
    assert (len(data.train), len(data.test), data.class_names()) == (18, 4, ["ant", "bee"])
    assert data.val is data.test and data.num_classes == 2 and data.channels == 3 and data.mirror

    files = {(p.read_bytes(), int(p.parent.name == "bee")) for p in source.glob("train/*/*.jpg")}
    blobs = pickle.loads(pickle.dumps(data.train.blobs))  # as for a process that is not forked
    read = [(blobs.read(i), int(data.train.labels[i])) for i in range(18)]
    assert set(read) == files and [label for _, label in read] != sorted(label for _, label in read)
    sizes = [data.train.open(i).size for i in range(18)]
    assert sizes == list(zip(blobs.columns["height"].tolist(), blobs.columns["width"].tolist(), strict=True))

    packed(source, tmp_path / "again", THREE)
    assert contents(tmp_path / "out") == contents(tmp_path / "again")
    packed(source, tmp_path / "other", THREE._replace(seed=1))
    assert contents(tmp_path / "out")["train-000000.tar"] != contents(tmp_path / "other")["train-000000.tar"]


@pytest.mark.filterwarnings("ignore")  # another project's
def test_any_tool_reads_the_shards(small):
    shard, blobs = small / "train-000000.tar", Packing(str(small)).blobs("train")
    labels = blobs.columns["label"].tolist()
    with tarfile.open(shard) as tar:
        assert tar.getnames()[:3] == ["000000000000.jpg", "000000000000.cls", "000000000001.jpg"]
        for i in range(12):
            image, label = (tar.extractfile(f"{i:012d}.{ending}").read() for ending in ("jpg", "cls"))  # type: ignore[union-attr]
            assert image == blobs.read(i) and int(label) == labels[i]
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    read = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode("pil"))
    assert [sample["cls"] for sample in read] == labels and read[0]["jpg"].size[0] == 60


def test_the_command_goes_before_what_was_packed(tmp_path):
    packed(folder(tmp_path / "data"), tmp_path / "out", KEEP, "mirror=false", "mean=[0.1,0.2,0.3]")
    data = opened("packed", tmp_path / "out")
    assert (data.mirror, data.mean, data.num_classes) == (False, [0.1, 0.2, 0.3], 2)
    data = opened("packed", tmp_path / "out", "mirror=true", "val_size=4")
    assert data.mirror and sizes(data) == [8, 4, 4] and data.mean == [0.1, 0.2, 0.3]
    with pytest.raises(DataError, match="was packed with 3. Give datamodule.mean"):
        opened("packed", tmp_path / "out", "channels=1")
    assert opened("packed", tmp_path / "out", "channels=1", "mean=[0.5]", "std=[0.2]").train.channels == 1


def test_validation_images_of_their_own(tmp_path):
    source = folder(tmp_path / "data")
    os.rename(source / "test", source / "val")
    folder(tmp_path / "more", train=1, test=3)
    os.rename(tmp_path / "more" / "test", source / "test")
    pack(opened("imagefolder", source), tmp_path / "out", KEEP, lambda count: None)
    assert sizes(opened("packed", tmp_path / "out")) == [12, 4, 6]
    held_out = opened("packed", tmp_path / "out", "val_size=5")
    assert sizes(held_out) == [7, 5, 6] and "(val) is not read" in " ".join(held_out.notes)


# ---- an image


SMALL = Settings(32, 90, 100, 0)


@pytest.mark.parametrize(
    ("data", "settings", "ending", "size"),
    [
        (encoded(picture(64, 96)), SMALL, "jpg", (32, 48)),
        (rotated(picture(64, 96)), SMALL, "jpg", (48, 32)),
        (encoded(picture(20, 30), "PNG"), SMALL, "jpg", (20, 30)),
        (encoded(picture(64, 96).convert("CMYK")), SMALL, "jpg", (32, 48)),
        (encoded(picture(64, 96)), SMALL._replace(quality=None), "png", (32, 48)),
        (encoded(picture(20, 30), quality=30), SMALL, None, (20, 30)),
        (rotated(picture(20, 30)), SMALL, None, (30, 20)),
        (encoded(picture(20, 30), "PNG"), SMALL._replace(quality=None), None, (20, 30)),
        (encoded(picture(64, 96), "WEBP"), KEEP, None, (64, 96)),
    ],
)
def test_what_is_made_anew_and_what_keeps_its_bytes(data, settings, ending, size):
    file, found, shape = encode(data, 3, True, settings)
    assert shape == size and (file == data) == (ending is None)
    if ending:
        image = Image.open(io.BytesIO(file))
        assert found == ending and image.size == size[::-1] and image.mode == "RGB" and not image.getexif()


def test_a_smaller_picture_is_near_the_large_one():
    image = photographs()[0]
    file, _, size = encode(encoded(image, "PNG"), 3, True, SMALL._replace(quality=None))
    wanted = numpy.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS), numpy.float64)
    assert abs(numpy.asarray(Image.open(io.BytesIO(file)), numpy.float64) - wanted).mean() < 1


# ---- damage


def broken(out, place: int, byte: bytes | None, name: str = "train-000000.tar"):
    """A shard with another byte at a place, or cut there."""
    shard = out / name
    data = shard.read_bytes()
    shard.write_bytes(data[:place] + (byte + data[place + 1 :] if byte else b""))


def test_damaged_shards_are_told_by_name(tmp_path, small):
    shutil.copytree(small, tmp_path / "out")
    columns = Packing(str(tmp_path / "out")).blobs("train").columns
    offset = int(columns["offset"][7])
    whole = (tmp_path / "out" / "train-000000.tar").read_bytes()
    broken(tmp_path / "out", offset + 30, bytes([whole[offset + 30] ^ 1]))
    blobs = Packing(str(tmp_path / "out")).blobs("train")
    assert zlib.crc32(blobs.read(6)) == columns["crc32"][6]
    with pytest.raises(OSError, match="checksum differs"):
        blobs.read(7)
    assert blobs.name(7).endswith("train-000000.tar: 000000000007")

    broken(tmp_path / "out", offset + 30, None)
    with pytest.raises(OSError, match="cut short"):
        blobs.read(7)
    os.unlink(tmp_path / "out" / "train-000000.tar")
    with pytest.raises(OSError, match="No such file"):
        Packing(str(tmp_path / "out")).blobs("train").read(7)
    os.mkfifo(tmp_path / "out" / "train-000000.tar")
    with pytest.raises(OSError, match="no regular file"):
        Packing(str(tmp_path / "out")).blobs("train").read(7)


def test_a_check_tells_of_damage(tmp_path, small):
    shutil.copytree(small, tmp_path / "out")
    data, told = opened("packed", tmp_path / "out"), []
    offset = int(data.test.blobs.columns["offset"][2])
    broken(tmp_path / "out", offset, b"?", "test-000000.tar")
    faults = find_unreadable(encoded_splits(data), told.append)
    assert [(fault.row, fault.name[-30:]) for fault in faults] == [(2, "/test-000000.tar: 000000000002")]
    assert told == [12, 4]


def test_another_packing_or_other_files_are_left_alone(tmp_path, small):
    source = small.parent / "data"
    assert packed(source, small) is None
    before = contents(small)
    with pytest.raises(DataError, match="another packing: its max_size is None, and this command's is 32"):
        packed(source, small, SMALL)
    with pytest.raises(DataError, match="another packing: its mirror is True"):
        packed(source, small, KEEP, "mirror=false")
    assert contents(small) == before
    for text in (None, "{", "[]", '{"version": 1, "files": {}}'):
        (tmp_path / "train-000000.tar").write_text("not ours")
        (tmp_path / "dataset.json").write_text(text) if text else None
        before = contents(tmp_path)
        with pytest.raises(DataError, match="something else"):
            packed(source, tmp_path)
        assert contents(tmp_path) == before


@pytest.mark.parametrize("change", [lambda data: data[:-8], lambda data: data[:-8] + bytes(8)])
def test_a_damaged_index_is_refused(tmp_path, small, change):
    column = shutil.copytree(small, tmp_path / "out") / "index" / "train" / "label.npy"
    column.write_bytes(change(column.read_bytes()[:-1] + b"\1"))
    with pytest.raises(DataError, match=r"label\.npy is missing or damaged"):
        opened("packed", tmp_path / "out")


def test_only_missing_damaged_and_changed_shards_are_made_again(tmp_path):
    source, out = folder(tmp_path / "data", train=9), tmp_path / "out"
    words = ("mean=[0,0,0]", "std=[1,1,1]")
    bad = source / "test" / "bee" / "1.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(b"<html>")
    with pytest.raises(DataError, match="bee/1.jpg cannot be read"):
        packed(source, out, THREE, *words)
    with pytest.raises(DataError, match="unfinished"):
        Packing(str(out))
    bad.write_bytes(whole)
    (source / "train" / "ant" / "2.jpg").write_bytes(encoded(picture(90)))  # of the first shard
    broken(out, 600, b"?", "train-000003.tar")
    (out / "train-000001.tar").unlink()
    (out / "train-000099.tar").write_bytes(b"of another command")
    (out / "train-000098.tar.part").write_bytes(b"half written when it was killed")
    report = packed(source, out, THREE, *words)
    assert report is not None and report.kept == 9
    assert packed(source, tmp_path / "whole", THREE, *words) and contents(out) == contents(tmp_path / "whole")

    shutil.copytree(source, tmp_path / "copy")  # with other dates
    for file in (tmp_path / "copy").rglob("*.jpg"):
        os.utime(file, (1, 1))
    assert packed(tmp_path / "copy", out, THREE, *words) is None
    bad.write_bytes(encoded(picture(90)))
    with pytest.raises(DataError, match="another packing: its digest"):
        packed(source, out, THREE, *words)


def test_every_file_of_a_packing_is_flushed_to_the_disk_a_shard_before_its_record(tmp_path, monkeypatch):
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    packed(folder(tmp_path / "data"), tmp_path / "out")
    names = [os.path.relpath(path, tmp_path / "out").removesuffix(".part") for path in flushed]
    assert {*contents(tmp_path / "out")} <= {*names}
    assert names.index("train-000000.tar") < names.index("train-000000.json") < names.index("index/train/label.npy")
    assert names[-1] == "dataset.json"


def test_few_shards_are_open_at_once_and_none_in_the_end(tmp_path, monkeypatch):
    def open_shards() -> int:
        links = [os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
        return sum(os.path.islink(link) and os.readlink(link).startswith(f"{tmp_path}/out/train") for link in links)

    packed(folder(tmp_path / "data"), tmp_path / "out", THREE)
    monkeypatch.setattr(blobs_module, "MOST_OPEN", 2)
    blobs = Packing(str(tmp_path / "out")).blobs("train")
    counts = [open_shards() for image in range(12) if blobs.read(image)]
    assert counts == [1] * 3 + [2] * 9
    del blobs
    assert open_shards() == 0


def test_a_run_does_not_go_on_with_another_packing(tmp_path, small):
    packed(small.parent / "data", tmp_path / "other", KEEP._replace(seed=1))
    data = opened("packed", small)
    state = data.state_dict()
    data.load_state_dict(state)
    with pytest.raises(DataError, match="other training images"):
        opened("packed", tmp_path / "other").load_state_dict(state)


# ---- from far away


def test_a_url_is_fetched_once_shard_by_shard(tmp_path, cache):
    packed(folder(tmp_path / "data", train=9), tmp_path / "out", THREE)
    url = f"file://{tmp_path / 'out'}"
    data = opened("packed", url)
    assert isinstance(data, Packed) and not list(cache.rglob("*.tar"))
    here = opened("packed", tmp_path / "out")
    assert data.train.blobs.read(0) == here.train.blobs.read(0)
    assert [path.name for path in cache.rglob("*.tar")] == ["train-000000.tar"]
    (tmp_path / "out" / "train-000000.tar").unlink()
    again = opened("packed", url)
    assert again.train.blobs.read(0) == here.train.blobs.read(0) and torch.equal(again.train.labels, data.train.labels)
    broken_shard = tmp_path / "out" / "train-000001.tar"
    broken_shard.write_bytes(broken_shard.read_bytes()[:-512])
    with pytest.raises(DataError, match="instead of"):
        data.train.blobs.read(5)  # three images a shard
    assert not list(cache.rglob("*.part"))


def test_a_shard_that_cannot_be_fetched_ends_the_run_though_images_may_be_skipped(tmp_path, small):
    copy = shutil.copytree(small, tmp_path / "copy")
    data = opened("packed", f"file://{copy}", f"cache={tmp_path / 'kept'}", "on_error=skip")
    (copy / "train-000000.tar").unlink()
    out, view = torch.empty(2, 3, 8, 8, dtype=torch.uint8), EvalCrop(composed("recipe.test_res=8").recipe)
    with pytest.raises(DataError, match="train-000000.tar cannot be fetched .no such file"):
        data.train.fill(out, torch.zeros(2, 3, dtype=torch.int64), view)


def test_what_comes_from_a_url_has_an_end(tmp_path, small, monkeypatch, capsys):
    """A description, while it is read; a shard that is larger than its description says, while it is fetched."""
    store = fsspec.filesystem("memory")
    store.put(str(small), "/foreign", recursive=True)
    data = opened("packed", "memory://foreign", f"cache={tmp_path / 'kept'}")
    assert data.train.blobs.read(3) == Packing(str(small)).blobs("train").read(3)
    assert list((tmp_path / "kept").rglob("train-000000.tar"))
    store.pipe("/foreign/test-000000.tar", bytes(10 * 2**20))
    monkeypatch.setattr(remote, "REPORT_EVERY_S", -1)
    with pytest.raises(DataError, match="test-000000.tar has more than .* bytes: copy it again"):
        data.test.blobs.read(0)
    assert not list((tmp_path / "kept").rglob("*.part"))
    monkeypatch.setattr(remote, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="dataset.json cannot be read .it has more than 100 bytes"):
        Packing("memory://foreign")
    limits = remote._timeouts("https://a/b", 7)["client_kwargs"]["timeout"]
    assert limits.total == 7 and remote._timeouts("https://a/b")["client_kwargs"]["timeout"].total is None
    assert limits.sock_read == 60 and not remote._timeouts("s3://a/b")


def test_a_long_fetch_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(remote, "REPORT_EVERY_S", -1)
    remote._progress("s3://a/b", 9000).absolute_update(5000)
    assert capsys.readouterr().err == "fetching s3://a/b: 5,000 of 9,000 bytes ...\n"


DESCRIPTIONS = {  # the whole text, or an entry of another kind
    "nested": "[" * 100_000,
    "cut": "{",
    "of another version": '{"version": 99}',
    "a large file": " " * 2**25,
    "unfinished": ("files", None),
    "checksums in a list": ("crc32", []),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_foreign_description_is_data(tmp_path, small, kind):
    file = shutil.copytree(small, tmp_path / "copy") / "dataset.json"
    change = DESCRIPTIONS[kind]
    text = change if isinstance(change, str) else json.dumps(json.loads(file.read_text()) | dict([change]))
    file.write_text(text)
    with pytest.raises(DataError, match="is damaged, unfinished or not of version 1|more than"):
        Packing(str(file.parent))


def test_a_cache_that_cannot_be_written_is_named(small):
    with pytest.raises(DataError, match="/dev/null/x/.* cannot be written .*datamodule.cache=FOLDER"):
        opened("packed", f"file://{small}", "cache=/dev/null/x")


def test_places_where_nothing_is_packed(tmp_path):
    for place, message in (
        (tmp_path / "nowhere", "no packed data"),
        ("memory://elsewhere", "no packed data"),
        ("nosuch://elsewhere", "Protocol not known"),
    ):
        with pytest.raises(DataError, match=message):
            open_splits(str(place), None)
