"""Tars that others packed: images and labels are those of the files; an error is one line with the member's name."""

import io
import json
import os
import tarfile

import numpy
import pytest
from data_sets import sizes
from photographs import encoded
from PIL import Image
from unit.data.test_shards import opened
from unit.data.test_shards import picture as smooth_picture

from lineage.datamodules.errors import DataError
from lineage.datamodules.packing.shards import open_splits
from lineage.datamodules.packing.storing import Settings
from lineage.datamodules.packing.writing import pack


def picture(number: int, kind: str = "JPEG") -> bytes:
    return encoded(smooth_picture(40 + number % 7), kind)


def write_tar(path, members: dict[str, bytes], **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def by_tarfile(root, shards: int = 3, each: int = 8) -> dict[str, list[tuple[bytes, int]]]:
    """Train and val in folders; images of several kinds, labels in cls or json, names too long for ustar."""
    files: dict[str, list[tuple[bytes, int]]] = {"train": [], "val": []}
    kinds = [("JPEG", "jpg"), ("PNG", "PNG"), ("WEBP", "webp"), ("JPEG", "jpeg")]
    for split, shard in ((split, shard) for split in files for shard in range(shards)):
        members = {"._000.jpg": b"of macOS", "README": b"", "more.json": b"{}"}
        for i in range(each):
            key = f"{'a long folder/' * (12 if i % 3 else 0)}\u00e9{shard:03d}{i:03d}"
            image, label = picture(i, kinds[i % 4][0]), i % 4
            sample = {f"{key}.txt": b"a caption", f"{key}.{kinds[i % 4][1]}": image}
            if i % 2:
                record = {"width": 3, ["label", "cls", "class"][i // 2 % 3]: [label, str(label)][i // 4]}
                sample[f"{key}.json"] = json.dumps(record).encode()
            else:  # the label before its image, and another in the json
                sample = {f"{key}.cls": b" %d\n" % label, f"{key}.json": b'{"label": 77}', **sample}
            members |= sample
            files[split].append((image, label))
        kind = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT][shard % 2]
        write_tar(root / split / f"{shard:05d}.tar", members, format=kind)
    (root / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    return files


@pytest.mark.filterwarnings("ignore")  # another project's
def by_webdataset(root) -> dict[str, list[tuple[bytes, int]]]:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    root.mkdir(parents=True)
    files: dict[str, list[tuple[bytes, int]]] = {}
    for split, count in (("train", 20), ("validation", 6), ("test", 4)):
        its = files[split.removesuffix("idation")] = [(picture(i), i % 2) for i in range(count)]
        with webdataset.ShardWriter(f"{root}/pets-{split}-%06d.tar", maxcount=7, verbose=0) as writer:
            for i, (image, label) in enumerate(its):
                writer.write({"__key__": f"sample{i:06d}", "jpg": image, "cls": label})
    return files


@pytest.mark.parametrize("write", [by_tarfile, by_webdataset])
def test_images_and_labels_are_those_of_the_files(tmp_path, write):
    files = write(tmp_path / "tars")
    splits = open_splits(str(tmp_path / "tars"), None)
    assert list(splits) == list(files)
    for name, split in splits.items():
        read = [(split.blobs.read(i), int(split.labels[i])) for i in reversed(range(len(split)))]
        assert read[::-1] == files[name]
    data = opened("packed", tmp_path / "tars")
    assert data.class_names() == (["ant", "bee", "cat", "dog"] if write is by_tarfile else ["0", "1"])
    assert [len(data.train), len(data.val), data.mirror] == [len(files["train"]), len(files["val"]), True]
    images, labels = zip(*files["train"], strict=True)
    with Image.open(io.BytesIO(images[5])) as image:
        assert (data.train.open(5).whole() == numpy.asarray(image)).all()
    assert data.train.labels.tolist() == list(labels) and abs(data.mean[0] - 0.5) < 0.05


def test_the_index_is_made_once_and_again_when_a_tar_changes(tmp_path, cache, monkeypatch):
    root = tmp_path / "tars"
    by_tarfile(root)
    before = open_splits(str(root), None)["train"]
    assert list(cache.rglob("tars.npz"))
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        again = open_splits(str(root), None)["train"]
        assert again.digest == before.digest and again.stamp([0]) == before.stamp([0])
    os.utime(root / "train" / "00001.tar", (1, 1))
    touched = open_splits(str(root), None)["train"]
    assert touched.digest == before.digest and touched.stamp([0]) != before.stamp([0])
    write_tar(root / "train" / "00001.tar", {"0.jpg": picture(0), "0.cls": b"1"})
    assert len(open_splits(str(root), None)["train"]) == len(before) - 7
    for file in cache.rglob("tars.npz"):
        file.write_bytes(file.read_bytes()[:-99])
    assert len(open_splits(str(root), None)["train"]) == len(before) - 7


def test_without_splits_a_tenth_is_held_out(tmp_path):
    samples = [(f"{i}.jpg", picture(i)) for i in range(40)] + [(f"{i}.cls", b"%d" % (i % 3)) for i in range(40)]
    write_tar(tmp_path / "00000.tar", dict(samples))
    data = opened("packed", tmp_path)
    assert sizes(data) == [36, 4, 4] and data.test is data.val and data.exif_rotation and data.mirror
    assert (data.num_classes, data.channels) == (3, 3)


JPG = picture(0)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.jpg": JPG}, r"train\.tar: a\.jpg has no label beside it"),
        ({"a.jpg": JPG, "a.cls": b"0", "b.cls": b"0"}, r"b\.cls has no image beside it"),
        ({"a.jpg": JPG, "a.cls": b"ant"}, r"a\.cls holds no label, .*'ant'"),
        ({"a.jpg": JPG, "a.cls": b"-1"}, r"a\.cls holds no label"),
        ({"a.jpg": JPG, "a.json": b'{"label": true}'}, r"a\.json holds no label"),
        ({"a.jpg": JPG, "a.json": b"[" * 100_000}, r"a\.json holds no label"),
        ({"a.jpg": JPG, "a.png": JPG, "a.cls": b"0"}, r"a\.png is the second image of its key"),
        ({"a\nb.jpg": JPG}, r"a\\x0ab\.jpg has no label"),
        ({"a.txt": b"3", "b.mp3": b""}, "hold no images"),
    ],
)
def test_wrong_members_are_named(tmp_path, members, message):
    write_tar(tmp_path / "train.tar", members)
    with pytest.raises(DataError, match=message) as error:
        open_splits(str(tmp_path), None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "no end", "zeros", "other bytes", "empty", "size", "link"])
def test_damaged_tars_are_refused(tmp_path, damage):
    tar = tmp_path / "train.tar"
    write_tar(tar, {f"{i}.{e}": bytes(900_000) if e == "jpg" else b"0" for i in range(3) for e in ("jpg", "cls")})
    data, header = tar.read_bytes(), 900_608 + 1024  # of the second image
    info = tarfile.TarInfo("1.jpg")
    info.size = 8 * 2**30 if damage == "size" else 900_000
    info.type = tarfile.SYMTYPE if damage == "link" else tarfile.REGTYPE
    changed = {
        "cut": data[: header + 5000],
        "no end": data[: 3 * header],
        "zeros": data[:header] + bytes(len(data) - header),
        "other bytes": data[:header] + b"x" * 512 + data[header + 512 :],
        "empty": b"",
    }
    other_header = data[:header] + info.tobuf(tarfile.GNU_FORMAT) + data[header + 512 :]
    tar.write_bytes(changed.get(damage, other_header))
    with pytest.raises(DataError, match=r"train\.tar") as error:
        open_splits(str(tmp_path), None)
    assert "\n" not in str(error.value)


def test_splits_that_do_not_fit_are_refused(tmp_path):
    sample = {"a.jpg": JPG, "a.cls": b"1"}
    with pytest.raises(DataError, match="no packed data"):
        open_splits(str(tmp_path), None)
    write_tar(tmp_path / "val-0.tar", {**sample, "a.cls": b"2"})
    with pytest.raises(DataError, match="no training images"):
        open_splits(str(tmp_path), None)
    write_tar(tmp_path / "more.tar", sample)
    with pytest.raises(DataError, match="others that do not: more.tar"):
        open_splits(str(tmp_path), None)
    os.rename(tmp_path / "more.tar", tmp_path / "train.tar")
    with pytest.raises(DataError, match=r"val-0\.tar: a\.jpg has the label 2, and there are 2 classes"):
        open_splits(str(tmp_path), None)


def test_they_are_packed_again(tmp_path):
    by_webdataset(tmp_path / "tars")
    pack(opened("packed", tmp_path / "tars"), tmp_path / "out", Settings(36, 90, 100, 0), lambda count: None)
    again = opened("packed", tmp_path / "out")
    assert sizes(again) == [20, 6, 4] and again.train.labels.bincount().tolist() == [10, 10]
