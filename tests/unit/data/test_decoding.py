"""Image files of every format against Pillow; damaged ones are named, and skipped only if the command says so."""

import io
import struct
import zlib
from types import SimpleNamespace

import numpy
import pytest
import torch
from conftest import recipe_of
from photographs import SAMPLES, MemoryBlobs, encoded, make_keys, photographs
from PIL import Image, ImageOps

from lineage.datamodules.decoding import decoding
from lineage.datamodules.decoding.decoding import ImageError, Jpeg, open_image
from lineage.datamodules.decoding.encoded_images import EncodedImages
from lineage.datamodules.decoding.resampling import resize_box
from lineage.datamodules.encoded import EncodedDataModule
from lineage.datamodules.errors import DataError
from lineage.datamodules.loading.loader import Stream, TrainLoader
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import Job
from lineage.recipes.augment.host import EvalCrop, TrainCrop


def pillow(data: bytes, mode: str = "RGB") -> numpy.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return numpy.asarray(image.convert(mode))


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 100}])
@pytest.mark.parametrize("number", range(5))
def test_jpeg_is_pillows_to_the_pixel(number, options):
    data = encoded(photographs()[number], **options)
    found = open_image(data, 3)
    assert isinstance(found, Jpeg) and numpy.array_equal(found.whole(), pillow(data))
    grey = open_image(data, 1)
    assert numpy.array_equal(grey.whole()[:, :, 0], pillow(data, "L"))


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("bottom", [5, 40, 63, 64, 65, 200, 390, 427])
def test_leaving_out_rows_below_a_box_changes_nothing(bottom, options):
    data = encoded(photographs()[0], **options)
    box, size = (bottom - 5, 3, 5, 90), (5, 90)
    found = open_image(data, 3).resize_box(box, size, "bicubic", beyond=False)
    assert numpy.array_equal(found, pillow(data)[bottom - 5 : bottom, 3:93])


@pytest.mark.parametrize(
    ("interpolation", "size", "factor"),
    [("bicubic", 40, 8), ("bilinear", 40, 8), ("bicubic", 300, 2), ("area", 60, 8), ("area", 300, 4)],
)
def test_jpegs_own_scaling_hardly_changes_pixels(interpolation, size, factor, monkeypatch):
    """It leaves at least twice the final size, or with area that size."""
    image = photographs()[0].resize((2560, 1708), Image.Resampling.BICUBIC)
    data, box = encoded(image, quality=95), (100, 300, 1500, 2000)
    decoded = []
    decode = Jpeg._decode

    def noted(one: Jpeg, *arguments, **options) -> numpy.ndarray:
        decoded.append(decode(one, *arguments, **options))
        return decoded[0]

    monkeypatch.setattr(Jpeg, "_decode", noted)
    small = open_image(data, 3).resize_box(box, (size, size), interpolation, beyond=False)
    whole = resize_box(pillow(data), box, (size, size), interpolation, beyond=False)
    assert len(decoded[0]) == -(-1708 // factor)
    assert numpy.abs(small.astype(int) - whole).mean() < (3 if interpolation == "area" else 0.8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = orientation
    data = encoded(photographs()[0].resize((60, 40)), kind, exif=exif)
    upright = numpy.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    found = open_image(data, 3)
    assert found.size == upright.shape[:2] and numpy.array_equal(found.whole(), upright)
    box = (2, 4, 20, 30)
    assert numpy.array_equal(found.resize_box(box, (20, 30), "bilinear", beyond=False), upright[2:22, 4:34])
    assert numpy.array_equal(open_image(data, 3, rotate=False).whole(), pillow(data))


def test_formats():
    image = photographs()[0].resize((32, 20))
    pixels = numpy.asarray(image)
    for kind in ("PNG", "BMP", "PPM", "TIFF"):
        assert numpy.array_equal(open_image(encoded(image, kind), 3).whole(), pixels)
    assert numpy.array_equal(open_image(encoded(image, "WEBP", lossless=True), 3).whole(), pixels)
    palettes = encoded(image.quantize(17), "GIF"), encoded(image.quantize(17), "PNG")
    for data in (*palettes, encoded(image.convert("1"), "PNG"), encoded(image.convert("CMYK"))):
        assert numpy.array_equal(open_image(data, 3).whole(), pillow(data))
    assert open_image(encoded(image.convert("L")), 3).whole().shape == (20, 32, 3)


@pytest.mark.parametrize("kind", ["EPS", "ICO", "PCX", "TGA"])
def test_other_formats_are_not_even_opened(kind):
    """Pillow starts Ghostscript for the program that an EPS is, whatever the file is called."""
    data = encoded(photographs()[0].resize((32, 20)), kind)
    with pytest.raises(ImageError, match="not read"):
        open_image(data, 3)


def test_sixteen_bits_become_eight():
    ramp = numpy.arange(0, 65536, 257, dtype=numpy.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        found = open_image(encoded(Image.fromarray(ramp), kind), 1).whole()[:, :, 0]
        assert numpy.array_equal(found, ramp // 257)
    between = Image.fromarray(numpy.array([[128, 129, 65406, 65407]], numpy.uint16))
    assert open_image(encoded(between, "PNG"), 1).whole().flatten().tolist() == [0, 1, 254, 255]  # the nearest


def test_transparent_pixels_become_white():
    pixels = numpy.zeros((4, 4, 4), numpy.uint8)
    pixels[:2, :, 3] = 255
    found = open_image(encoded(Image.fromarray(pixels), "PNG"), 3).whole()
    assert (found[:2] == 0).all() and (found[2:] == 255).all()
    palette = Image.fromarray(numpy.arange(16, dtype=numpy.uint8).reshape(4, 4), "P")
    palette.putpalette(list(range(48)))
    found = open_image(encoded(palette, "PNG", transparency=3), 3).whole()
    assert (found[0, 3] == 255).all() and found[0, 2].tolist() == [6, 7, 8]


# ---- damaged


def bomb(side: int = 20000) -> bytes:
    """A PNG whose header states side x side pixels, without pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def damaged() -> dict[str, tuple[bytes, str]]:
    """Damaged files by name, and the error message."""
    whole, png = encoded(photographs()[0]), encoded(photographs()[0], "PNG")
    thumbnail = b"\xff\xfe\0\4\xff\xd9"  # a comment that holds the end of another JPEG, as a camera's thumbnail does
    scan = whole.index(b"\xff\xda")
    high = bytearray(whole)
    place = high.index(b"\xff\xc0")
    high[place + 5 : place + 9] = struct.pack(">HH", 60000, 60000)
    return {
        "empty": (b"", "empty"),
        "text": (b"<html>not found</html>", "not an image"),
        "head of a jpeg": (whole[:300], "not an image|[Tt]runcated"),
        "half a jpeg": (whole[: len(whole) // 2], "truncated"),
        "a jpeg cut short after its thumbnail": (whole[:2] + thumbnail + whole[2 : scan + 100], "truncated"),
        "a jpeg with a wrong marker": (whole[: scan + 5000] + b"\xff\xc8" + whole[scan + 5002 :], "broken"),
        "half a png": (png[: len(png) // 2], "truncated"),
        "bomb": (bomb(), "400 megapixels|400000000 pixels"),
        "high jpeg": (bytes(high), "3,600 megapixels"),
        "floats": (encoded(Image.fromarray(numpy.zeros((4, 4), numpy.float32)), "TIFF"), "floating-point"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged(name):
    data, message = damaged()[name]
    with pytest.raises(ImageError, match=message) as caught:
        open_image(data, 3).whole()
    assert "\n" not in str(caught.value) and "BytesIO" not in str(caught.value)
    with pytest.raises(ImageError, match=message):
        open_image(data, 3).resize_box((0, 0, 100, 100), (50, 50), "area", beyond=False)


class MemoryData(EncodedDataModule):
    def __init__(self, files: dict[str, bytes], **options) -> None:
        facts = {"root": "", "num_classes": 2, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3, "mirror": True}
        more = {"resolution": None, "val_size": 0, "split_seed": 0, "workers": 0, "exact_evaluation": True}
        super().__init__(**{**facts, **more, **options})
        self.files = files

    def read(self):
        images = EncodedImages(MemoryBlobs(self.files), torch.arange(len(self.files)) % 2, 3)
        return images, images


def files() -> dict[str, bytes]:
    sound = encoded(photographs()[0])
    return {"a": sound, "half": sound[:5000], "b": sound, "gone": b"", "c": sound}


def test_rows_that_cannot_be_read_are_named():
    data = MemoryData(files(), on_error="fail", max_errors=0)
    data.load()
    view, sample_keys = TrainCrop(recipe_of("rsb_a2", train_res=24), seed=0), make_keys(5)
    out = torch.ones(5, 3, 24, 24, dtype=torch.uint8)
    faults = data.train.fill(out, sample_keys, view)
    assert [(fault.row, fault.name) for fault in sorted(faults)] == [(1, "half"), (3, "gone")]
    assert out[[0, 2, 4]].float().std() > 1 and not out[[1, 3]].any()
    with pytest.raises(DataError, match="half cannot be read as an image .*truncated|gone cannot.*No such file"):
        data.report(faults)


def test_a_budget_of_errors(caplog):
    data = MemoryData(files(), on_error="skip", max_errors=2)
    data.load()
    out, view = torch.ones(5, 3, 24, 24, dtype=torch.uint8), EvalCrop(recipe_of("rsb_a2", test_res=24))
    faults = data.train.fill(out, make_keys(5), view)
    for _ in range(2):  # an image counts once
        data.report(faults)
    assert set(data.skipped) == {"half", "gone"} and "half cannot be read" in caplog.text
    data.max_errors = 1
    with pytest.raises(DataError, match="2 images cannot be read, more than datamodule.max_errors=1"):
        data.report(faults)


def test_images_that_are_left_out_leave_the_others_their_share_of_the_step():
    data = MemoryData(files(), on_error="skip", max_errors=2)
    data.load()
    job = Job(data.train, EvalCrop(recipe_of("rsb_a2", test_res=24)))
    stream = Stream("train", job, torch.device("cpu"), None, data.report)
    (batch,) = next(iter(TrainLoader(stream, EpochOrder(5, 5, 0, True, 0), BatchSplit(), 0, 0)))
    assert sorted(batch.sample_keys[:, 1].tolist()) == [0, 2, 4] and batch.labels.tolist() == [0, 0, 0]
    assert len(batch.images) == 3 and batch.weight == pytest.approx(3 / 5)
    resumed = MemoryData(files(), on_error="skip", max_errors=2)
    resumed.load()
    resumed.load_state_dict(data.state_dict())
    assert resumed.skipped == data.skipped and len(resumed.skipped) == 2


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_live_until_their_jobs_change():
    data = MemoryData({"a": encoded(photographs()[0])}, on_error="fail", max_errors=0, workers=1)
    data.load()
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(strategy=strategy, world_size=1, global_rank=0, num_devices=1)
    pools = []
    for size in (24, 24, 32):
        view = data.test_view if size == 24 and pools else EvalCrop(recipe_of("rsb_a2", test_res=size))
        data.connect_evaluation(1, view)
        (batch,) = data.val_dataloader()
        assert batch.images.shape == (1, 3, size, size)
        pools.append(data._pool())
    assert pools[0] is pools[1] and pools[1] is not pools[2]
    assert not pools[0].processes[0].is_alive() and pools[2].processes[0].is_alive()
    pools[2].close()


@pytest.mark.proofs
def test_a_thousand_photographs_are_pillows():
    if not SAMPLES.is_dir():
        pytest.skip("no photographs: set LINEAGE_DATA to a folder that holds imagenet-sample/train")
    for path in SAMPLES.rglob("*.JPEG"):
        data = path.read_bytes()
        assert numpy.array_equal(open_image(data, 3, rotate=False).whole(), pillow(data)), path
