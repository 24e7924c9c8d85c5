"""lineage prepare: stopped and continued to the same bytes; faults in one line; training on what it has packed."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from doors import command, error_message, finished, refused, results, start
from photographs import encoded
from processes import children
from runs.pictures import write_folders
from unit.data.test_shards import contents, folder, picture, rotated

FOLDER = ("datamodule=imagefolder", "datamodule.root=data", "datamodule.val_size=0")
PACK = (*FOLDER, "out=out")


def test_stopped_it_goes_on_to_the_same_bytes(tmp_path):
    folder(tmp_path / "data", train=24, test=2)
    out, words = tmp_path / "out", (*FOLDER, "images_per_shard=3")
    for number, shards in ((signal.SIGKILL, 3), (signal.SIGINT, 6)):
        for _ in range(5):
            running = start(tmp_path, "prepare", *words, "out=out")
            running.wait_for(lambda count=shards: len(list(out.glob("train-*.json"))) >= count)
            workers = children(running.pid)
            running.kill(number, group=number == signal.SIGINT)
            done = running.wait()
            if done.returncode:
                break
            shutil.rmtree(out)  # on a busy machine it may have ended before it was told to
        assert done.returncode == 128 + number and "files" not in json.loads((out / "dataset.json").read_text())
        assert number == signal.SIGKILL or "the same command continues" in done.stdout
    kept = 3 * len(list(out.glob("train-*.json"))) - 3
    shard = out / "train-000004.tar"
    shard.write_bytes(shard.read_bytes()[:-2000])  # as a disk may leave it
    assert f"kept     {kept} images" in finished(tmp_path, "prepare", *words, "out=out").stdout
    finished(tmp_path, "prepare", *words, "out=whole")
    assert contents(out) == contents(tmp_path / "whole")
    assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}/exe")]


def test_an_image_that_cannot_be_read_ends_it_or_is_left_out(tmp_path):
    folder(tmp_path / "data")
    bad = [tmp_path / "data" / "train" / "ant" / "3.jpg", tmp_path / "data" / "test" / "bee" / "1.jpg"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:300])
    assert f"{bad[0]} cannot be read as an image (Truncated" in refused(tmp_path, "prepare", *PACK)
    skip = (*PACK, "datamodule.on_error=skip")
    done = command(tmp_path, "prepare", *skip, "datamodule.max_errors=1")
    assert done.returncode == 1 and "max_errors=1" in done.stderr and f"left out: {bad[0]}" in done.stderr, done.stderr
    said = finished(tmp_path, "prepare", *skip, "datamodule.max_errors=2").stdout
    assert "11 train, 3 test" in said and "2 images that" in said
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == list(map(str, bad))
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["images"] == {"train": 11, "test": 3}


def test_check_finds_what_training_would(tmp_path):
    ant = folder(tmp_path / "data") / "train" / "ant"
    planted = {"cut.jpg": encoded(picture())[:400], "text.jpg": b"no picture", "empty.png": b""}
    odd = {"print.jpg": encoded(picture().convert("CMYK")), "camera.jpg": rotated(picture())}
    for name, data in {**planted, **odd}.items():
        (ant / name).write_bytes(data)
    done = command(tmp_path, "prepare", *FOLDER, "check=true")
    assert done.returncode == 1 and "unreadable 3" in " ".join(done.stdout.split()), done.stderr
    for name in planted:
        assert sum(f"{ant / name}: " in line for line in done.stdout.splitlines()) == 1, done.stdout
    assert not any(name in done.stdout for name in odd)
    assert "nothing to prepare" in refused(tmp_path, "prepare", "check=true")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "out=DIR"),
        (("out=a", "check=true"), "say which"),
        (("out=a", "quality=80"), "quality=80 is not read"),
        (("check=true", "max_size=64"), "max_size=64 is not read"),
        (("out=a", "max_size=8"), "max_size=8"),
        (("out=a", "datamodule.workers=2"), "datamodule.workers"),
        (("out=a", "recipe=wrn"), "prepare does not read recipe"),
        (("out=data/a",), "among the images"),
        (("out=file",), "it is a file"),
    ],
)
def test_words_that_are_refused(tmp_path, checked, words, hint):
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    assert hint in error_message(checked("prepare", *FOLDER, *words))
    assert not (tmp_path / "a").exists()


TRAIN = tuple(
    "arch=resnet18 arch.widths=[8,8,8,8] datamodule=packed datamodule.workers=1 recipe=resnet recipe.train_res=32 "
    "recipe.test_res=32 recipe.batch_size=4 recipe.epochs=1 recipe.decay_epochs=[1] recipe.crop_scale=[36,64] "
    "trainer=cpu logger=csv".split()
)


def test_what_is_packed_is_trained_on_and_evaluated_here_and_from_a_url(tmp_path):
    write_folders(tmp_path / "data", count=8)
    said = finished(tmp_path, "prepare", *PACK, "max_size=36").stdout
    assert "datamodule=packed datamodule.root=out" in said
    said = finished(tmp_path, "train", *TRAIN, "datamodule.root=out", "run=a").stdout
    assert "16 train, 16 validation, 16 test, 2 classes" in said

    far, cache = f"datamodule.root=file://{tmp_path}/out", tmp_path / "kept"
    done = finished(tmp_path, "evaluate", "run=a", "trainer=cpu", far, XDG_CACHE_HOME=str(cache))
    assert done.table["test_loss"] == f"{results(tmp_path / 'runs' / 'a')['test_loss']:.6f}"
    assert [path.name for path in cache.rglob("*.tar")] == ["test-000000.tar"]

    shard = tmp_path / "out" / "test-000000.tar"
    shard.write_bytes(shard.read_bytes()[:4000])
    said = refused(tmp_path, "evaluate", "run=a", "trainer=cpu")
    assert "test-000000.tar: 0000000000" in said and "cut short" in said


@pytest.mark.parametrize("small_disk", ["3m"], indirect=True)
def test_a_full_disk(tmp_path, small_disk):
    for path in folder(tmp_path / "data", train=9).rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + bytes(250_000))
    words = (*FOLDER, f"out={small_disk}/out", "images_per_shard=3")
    said = refused(tmp_path, "prepare", *words)
    assert "cannot be written (No space left on device)" in said and "the same command continues" in said
    assert not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert "kept" in finished(tmp_path, "prepare", *words).stdout
    shutil.copytree(small_disk / "out", tmp_path / "out")
    shutil.rmtree(small_disk / "out")
    subprocess.run(["mount", "-o", "remount,size=1200k", str(small_disk)], check=True)
    words = (f"datamodule.root=file://{tmp_path}/out", f"datamodule.cache={small_disk}/cache", "check=true")
    said = refused(tmp_path, "prepare", "datamodule=packed", *words)
    assert "(No space left on device). Make room or choose datamodule" in said
    assert not list(small_disk.rglob("*.part"))
