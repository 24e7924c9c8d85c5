"""A folder of images: training, evaluation, resuming, and refusal if its images have changed."""

import os
import shutil

import pytest
from doors import finished, refused, results
from PIL import Image
from runs.pictures import write_folders

WORDS = "datamodule=imagefolder datamodule.root=data recipe.epochs=2 recipe.decay_epochs=[1] trainer=cpu logger=csv"


def test_letters_need_no_other_words(tmp_path):
    for i, letter in enumerate("abcd"):
        (tmp_path / "data" / letter).mkdir(parents=True)
        for k in range(20):
            Image.new("L", (28, 28), 60 * i + k).save(tmp_path / "data" / letter / f"{k}.png")
    words = [*WORDS.split(), "run=a"]
    assert "(a, b, c, d), 80 images of 28x28, shown at 32x32" in finished(tmp_path, "train", *words).stdout
    loss = results(tmp_path / "runs" / "a")["test_loss"]
    assert finished(tmp_path, "evaluate", "run=a", "trainer=cpu").table["test_loss"] == f"{loss:.6f}"
    shutil.rmtree(tmp_path / "data" / "d")
    (tmp_path / "runs" / "a" / "results.json").unlink()
    assert "a run with datamodule.num_classes=4, and its images say 3 now" in refused(tmp_path, "train", *words)


def test_photographs_and_every_verb(tmp_path):
    write_folders(tmp_path / "data", count=6)
    os.rename(tmp_path / "data" / "val", tmp_path / "data" / "Validation")
    words = (
        *WORDS.split(), "arch=resnet18", "arch.widths=[8,8,16,16]", "recipe=resnet", "recipe.batch_size=4",
        "recipe.train_res=32", "recipe.test_res=32", "datamodule.workers=1", "run=a",
    )  # fmt: skip

    def said(verb: str, *words: str) -> str:
        return " ".join(finished(tmp_path, verb, *words).stdout.split())  # lines break by the length of a folder's name

    assert "images of 50x40 to 55x45 (median 52x42), colour" in said("train", *words)
    assert "12 images of split train" in said("evaluate", "run=a", "trainer=cpu", "split=train")
    assert "ant, bee" in said("export", "run=a", "to=safetensors")
    assert "one image of 3x32x32" in said("describe", *words[:2], *words[6:8], "resolution=32")
    for split in ("train", "Validation"):  # the weights keep their classes
        os.rename(tmp_path / "data" / split / "ant", tmp_path / "data" / split / "cow")
    assert "6 images are left out: the weights do not know cow" in said("evaluate", "run=a", "trainer=cpu")
    for place in ("moved/test", "bare"):  # other images, of one of the classes: all are tested
        shutil.copytree(tmp_path / "data" / "train" / "bee", tmp_path / place / "bee")
        root = f"datamodule.root={tmp_path / place.split('/')[0]}"
        tested = said("evaluate", "run=a", root, "trainer=cpu")
        assert "6 images of split test" in tested and "1 of the 2 classes: ant" in tested
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    assert "ant, bee" in said("export", "run=a", "to=safetensors", "output=b.safetensors")


@pytest.mark.proofs
def test_a_sweep_over_folders_of_runs_on_two_ranks(tmp_path):
    for name, count in (("one", 2), ("two", 3)):
        write_folders(tmp_path / name, count=count, size=(32, 32))
    words = WORDS.replace("root=data", "root=one,two").replace("=cpu", "=ddp trainer.accelerator=cpu").split()
    words += ["trainer.devices=2"]
    finished(tmp_path, "train", "-m", *words, "run=s")
    assert len(list((tmp_path / "runs" / "s").glob("*/results.json"))) == 2
