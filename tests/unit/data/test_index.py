"""The index of a folder of class folders, its cache, and statistics of images."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from doors import ROOT
from photographs import MemoryBlobs, encoded
from PIL import Image

from lineage.datamodules.discovery import index as index_module
from lineage.datamodules.discovery import statistics
from lineage.datamodules.discovery.index import open_index
from lineage.datamodules.discovery.statistics import measure
from lineage.datamodules.discovery.user_cache import cache_path
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.parallel import parallel_map


def make(root: Path, *names: str) -> Path:
    """Empty files, in folders that were changed long ago."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1e9, 1e9))
    return root


def paths(index) -> list[str]:
    return [os.path.relpath(os.fsdecode(index.path(i)), index.folder) for i in range(len(index))]


# ---- scanned


def test_images_of_any_ending_at_any_depth_but_not_hidden_ones(tmp_path):
    long = "é" * 125 + ".jpg"  # 254 bytes
    images = ["ant/1.JPEG", "ant/2.jpg", "ant/deep/er/3.PnG", "ant/x.webp", "bee/a b.bmp", f"bee/{long}", "bee/1.tiff"]
    others = ["ant/list.txt", "bee/LICENSE", "bee/x.heic"]
    hidden = ["ant/.1.jpg", "ant/.ipynb_checkpoints/1.jpg", ".git/1.jpg", "__MACOSX/ant/1.jpg", "bee/@eaDir/1.jpg"]
    index = open_index(make(tmp_path / "Bäume 木", *images, *others, *hidden, "bee/Thumbs.db"))
    assert index.classes == ["ant", "bee"] and index.labels.tolist() == [0] * 4 + [1] * 3
    assert paths(index) == sorted(images) and numpy.bincount(index.labels).tolist() == [4, 3]
    assert dict(index.others) == {".txt": 1, ".db": 1, "": 1, ".heic": 1}
    assert "1 .txt, " in index.notes()[0] or ", 1 .txt" in index.notes()[0]


def test_links_are_followed_once(tmp_path):
    root = make(tmp_path / "data", "ant/1.jpg", "bee/1.jpg", "bee/below/2.jpg", "bee/folder.jpg/3.jpg")
    elsewhere = make(tmp_path / "elsewhere", "4.jpg")
    (root / "bee" / "5.jpg").symlink_to(elsewhere / "4.jpg")
    (root / "cat").symlink_to(elsewhere)
    links = {"up": root / "bee", "top": root, "down": root / "bee" / "below", "self.jpg": "self.jpg"}
    for name, target in links.items():
        (root / "bee" / name).symlink_to(target)
    os.mkfifo(root / "bee" / "pipe.jpg")
    (root / "bee" / "gone.jpg").symlink_to("nowhere")
    index = open_index(root)
    assert numpy.bincount(index.labels).tolist() == [1, 7, 1] and index.classes == ["ant", "bee", "cat"]
    names = [os.path.basename(path) for path in paths(index)]
    assert names == ["1.jpg", "1.jpg", "5.jpg", "2.jpg", "3.jpg", "gone.jpg", "pipe.jpg", "self.jpg", "4.jpg"]
    for image, reason in {5: "No such file", 6: "not a regular file", 7: "symbolic links"}.items():
        with pytest.raises(OSError, match=reason):  # on reading; they are not left out in silence
            index.read(image)


def test_names_that_are_not_utf8(tmp_path):
    names = [b"b\xff/\xfe.jpg", b"a/1.jpg"]
    root = make(tmp_path / "data", *map(os.fsdecode, names))
    for _ in range(2):  # the second time from the cache
        index = open_index(root)
        assert index.read(1) == b"" and index.name(1).endswith("/b\\xff/\\xfe.jpg")
    assert open_index(make(tmp_path / "case", "Ant/1.jpg", "ant/1.jpg")).notes() == [
        f"Ant and ant in {tmp_path}/case differ in case only, and are two classes"
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["readme.txt"], "holds no class folder"),
        (["1.jpg", "2.jpg", "3.jpg", "ant/1.jpg"], r"holds 3 images beside its class folders \(1.jpg, 2.jpg, 3.jpg\)"),
    ],
)
def test_folders_that_are_not_data_sets(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        open_index(make(tmp_path / "data", *names))
    with pytest.raises(DataError, match="nowhere is not a folder"):
        open_index(tmp_path / "nowhere")


# ---- cached


def test_a_folder_is_scanned_once_and_again_after_a_change(tmp_path, monkeypatch):
    root, scans, scan = make(tmp_path / "data", "ant/deep/1.jpg", "bee/1.jpg"), [], index_module.scan

    def counted(folder):
        scans.append(folder)
        return scan(folder)

    monkeypatch.setattr(index_module, "scan", counted)
    sizes = [len(open_index(root)), len(open_index(root))]
    (root / "ant" / "deep" / "2.jpg").touch()
    sizes += [len(open_index(root))]
    assert sizes == [2, 2, 3] and len(scans) == 2
    (root / "cat").mkdir()
    (root / "cat" / "1.jpg").touch()
    os.utime(root, (2e9, 2e9))
    assert open_index(root).classes == ["ant", "bee", "cat"] and len(scans) == 3
    open_index(root)  # its folders were changed just now, and may change again in the same tick of the clock
    assert len(scans) == 4


def test_a_replaced_file_changes_the_stamp(tmp_path):
    index = open_index(make(tmp_path / "data", "ant/1.jpg", "bee/2.jpg"))

    def replaced(content: bytes, time: int) -> tuple[str, str, str]:
        file = tmp_path / "data" / "ant" / "1.jpg"
        file.write_bytes(content)
        os.utime(file, (time, time))
        return index.stamp([0, 1]), index.stamp([0, 1], dates=False), index.stamp([1])

    (all1, sizes1, other1), (all2, sizes2, _), (all3, sizes3, other3) = (
        replaced(b"one", 1), replaced(b"two", 2), replaced(b"three", 2)
    )  # fmt: skip
    assert len({all1, all2, all3}) == 3 and sizes1 == sizes2 != sizes3 and other1 == other3


def test_a_damaged_cache_is_made_anew(tmp_path):
    root = make(tmp_path / "data", "ant/1.jpg", "ant/2.jpg", "bee/3.jpg")
    whole = paths(open_index(root))
    file = cache_path(root) / "index.npz"
    content = file.read_bytes()
    flipped = (content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(0, len(content), 5))
    for damaged in (b"", content[: len(content) // 2], b"\0" * len(content), *flipped):
        file.write_bytes(damaged)
        assert paths(open_index(root)) == whole
    file.unlink()
    assert paths(open_index(root)) == whole


def test_without_a_cache(tmp_path, cache):
    cache.write_text("a file in the place of the folder")
    index = open_index(make(tmp_path / "data", "ant/1.jpg", "bee/1.jpg"))
    assert index.cache is None and "cannot be written" in index.notes()[0]


def test_without_torch():
    modules = "sys, lineage.datamodules.discovery.layout, lineage.datamodules.decoding.pixels"
    program = f"import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


# ---- measured


def test_processes_share_work_in_order(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})  # on one core this process itself would be killed
    assert list(parallel_map(lambda item: item**2, range(10))) == [i**2 for i in range(10)]
    with pytest.raises(DataError, match="was killed"):
        list(parallel_map(lambda item: os.kill(os.getpid(), signal.SIGKILL) if item == 3 else item, range(4)))


def blobs(*images: Image.Image | bytes, **how) -> MemoryBlobs:
    files = (image if isinstance(image, bytes) else encoded(image, "PNG", **how) for image in images)
    return MemoryBlobs({f"image {i}": file for i, file in enumerate(files)})


def flat(level: int | tuple[int, int, int], width: int, height: int) -> Image.Image:
    return Image.new("L" if isinstance(level, int) else "RGB", (width, height), level)


def test_statistics_of_grey_squares():
    half = numpy.zeros((8, 8), numpy.uint8)
    half[:4] = 255
    measured = measure(blobs(Image.fromarray(half), flat((255, 255, 255), 8, 8)), rotate=True, channels=None)
    assert (measured.channels, measured.mean, measured.side, measured.sizes()) == (1, [0.75], 8, "8x8")
    assert measured.std == [round((0.75 - 0.75**2) ** 0.5, 4)]
    assert measure(blobs(flat(7, 8, 8)), rotate=True, channels=None).std == [0.0001]  # which can be divided by
    as_colour = measure(blobs(Image.fromarray(half)), rotate=True, channels=3)
    assert as_colour.mean == [0.5] * 3 and as_colour.std == [0.5] * 3


def test_statistics_of_pictures_of_several_sizes_some_of_which_cannot_be_read():
    red, large = flat((255, 0, 0), 30, 20), flat((0, 0, 255), 1200, 600)  # each counts the same
    measured = measure(blobs(red, large, b"no image", red), rotate=True, channels=None)
    assert measured.mean == [0.6667, 0, 0.3333] and measured.side is None
    assert measured.sizes() == "30x20 to 1200x600 (median 30x20)"
    assert len(measured.unreadable) == 1 and measured.unreadable[0].startswith("image 2 (")
    with pytest.raises(DataError, match="None of 2 images can be read, for example image 0"):
        measure(blobs(b"no image", b""), rotate=True, channels=None)


def test_one_image_of_another_size_is_found_and_exif_rotation_changes_sizes(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE", 20)
    squares = [flat(7, 8, 8)] * 25
    assert measure(blobs(*squares), rotate=True, channels=None).side == 8
    odd = measure(blobs(*squares[:4], flat(7, 9, 9), *squares[5:]), rotate=True, channels=None)
    assert odd.largest == [8, 8] and odd.side is None  # it is not in the sample: 0 1 2 3 5 and so on
    turned = Image.Exif()
    turned[0x0112] = 6
    for rotate, size in ((True, [30, 20]), (False, [20, 30])):
        assert measure(blobs(flat(7, 30, 20), exif=turned), rotate=rotate, channels=None).median == size
