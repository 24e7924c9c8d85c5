"""A folder of images: training, evaluation, resuming, and refusal if its images have changed."""

import os
import shutil

import pytest
from doors import command, results
from PIL import Image
from runs.pictures import write_folders

WORDS = "datamodule=imagefolder datamodule.root=data recipe.epochs=2 recipe.decay_epochs=[1] trainer=cpu logger=csv"


def test_letters_need_no_other_words(tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for i, letter in enumerate("abcd"):
        (tmp_path / "data" / letter).mkdir(parents=True)
        for k in range(20):
            Image.new("L", (28, 28), 60 * i + k).save(tmp_path / "data" / letter / f"{k}.png")
    words = [*WORDS.split(), "run=a"]
    done = command(tmp_path, "train", *words, **cache)
    assert done.returncode == 0 and "(a, b, c, d), 80 images of 28x28, shown at 32x32" in done.stdout, done.stderr
    found = results(tmp_path / "runs" / "a")
    done = command(tmp_path, "evaluate", "run=a", "trainer=cpu", **cache)
    assert done.table["test_loss"] == f"{found['test_loss']:.6f}", done.stderr

    # as after a kill at the end of the first epoch
    done = command(tmp_path, "train", *words[:-1], "run=b", "trainer.max_epochs=1", **cache)
    (tmp_path / "runs" / "b" / "results.json").unlink()
    done = command(tmp_path, "train", *words[:-1], "run=b", **cache)
    assert done.returncode == 0 and "continues" in done.stdout, done.stderr
    assert results(tmp_path / "runs" / "b")["test_loss"] == found["test_loss"]

    shutil.rmtree(tmp_path / "data" / "d")
    (tmp_path / "runs" / "a" / "results.json").unlink()
    done = command(tmp_path, "train", *words, **cache)
    assert done.returncode == 1 and "a run with datamodule.num_classes=4, and its images say 3 now" in done.stderr


def test_photographs_and_every_verb(tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    write_folders(tmp_path / "data", count=6)
    os.rename(tmp_path / "data" / "val", tmp_path / "data" / "Validation")
    words = (
        *WORDS.split(), "arch=resnet18", "arch.widths=[8,8,16,16]", "recipe=resnet", "recipe.batch_size=4",
        "recipe.train_res=32", "recipe.test_res=32", "datamodule.workers=1", "run=a",
    )  # fmt: skip
    done = command(tmp_path, "train", *words, **cache)
    assert done.returncode == 0 and "images of 50x40 to 55x45 (median 52x42), colour" in done.stdout, done.stderr
    done = command(tmp_path, "evaluate", "run=a", "trainer=cpu", "split=train", **cache)
    assert "12 images of split train" in done.stdout, done.stderr
    done = command(tmp_path, "export", "run=a", "to=safetensors", **cache)
    assert "ant, bee" in done.stdout, done.stderr
    done = command(tmp_path, "describe", *words[:2], *words[6:8], "resolution=32", **cache)
    assert done.returncode == 0 and "one image of 3x32x32" in done.stdout, done.stderr
    for split in ("train", "Validation"):  # the weights keep their classes
        os.rename(tmp_path / "data" / split / "ant", tmp_path / "data" / split / "cow")
    done = command(tmp_path, "evaluate", "run=a", "trainer=cpu", **cache)
    assert "6 images are left out: the weights do not know cow" in " ".join(done.stdout.split()), done.stderr
    for place in ("moved/test", "bare"):  # other images, of one of the classes: all are tested
        shutil.copytree(tmp_path / "data" / "train" / "bee", tmp_path / place / "bee")
        root = f"datamodule.root={tmp_path / place.split('/')[0]}"
        done = command(tmp_path, "evaluate", "run=a", root, "trainer=cpu", **cache)
        said = " ".join(done.stdout.split())  # whose lines break by the length of the folder's name
        assert "6 images of split test" in said and "1 of the 2 classes: ant" in said, done.stderr
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    done = command(tmp_path, "export", "run=a", "to=safetensors", "output=b.safetensors", **cache)
    assert "ant, bee" in done.stdout, done.stderr


@pytest.mark.proofs
def test_a_sweep_over_folders_of_runs_on_two_ranks(tmp_path):
    for name, count in (("one", 2), ("two", 3)):
        write_folders(tmp_path / name, count=count, size=(32, 32))
    words = WORDS.replace("root=data", "root=one,two").replace("=cpu", "=ddp trainer.accelerator=cpu").split()
    words += ["trainer.devices=2"]
    done = command(tmp_path, "train", "-m", *words, "run=s", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "s").glob("*/results.json"))) == 2
