"""lineage predict and explain, and what an evaluation records: one network, asked in three ways, gives one answer."""

import csv
import json
import shutil

import numpy
import pytest
from doors import finished, refused, results
from PIL import Image
from runs.pictures import write_folders
from runs.states import PAIR, SHORT

from lineage.analysis.record import Record

pytestmark = pytest.mark.xdist_group("trained")  # one worker, one fixture


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A run on photographs of several sizes, in folders of two classes."""
    folder = tmp_path_factory.mktemp("photographs")
    write_folders(folder / "pictures", count=6)
    data = ("datamodule=imagefolder", "datamodule.root=pictures", "recipe.train_res=32", "recipe.test_res=32")
    small = ("recipe.epochs=1", "recipe.decay_epochs=[]", "recipe.schedule=constant", "recipe.decay_rate=0")
    finished(folder, "train", *SHORT, *data, *small, "recipe.batch_size=4", "run=photographs")
    return folder


def asked(folder, *words):
    """The rows of the table that lineage predict writes."""
    return list(csv.DictReader(finished(folder, "predict", *words, "out=-").stdout.splitlines()))


def test_photographs_are_predicted_as_they_are_evaluated(photographs):
    record = Record.read(photographs / "runs/photographs/evaluations/test-last")
    rows = asked(photographs, "run=photographs", "images=pictures/val", "columns=[image,label,probability]")
    assert [row["image"].partition("pictures/")[2].encode() for row in rows] == record.columns["path"].tolist()
    assert [int(row["label"]) for row in rows] == record.predicted.tolist()
    assert [float(row["probability"]) for row in rows] == [round(float(p), 6) for p in record.confidence]
    said = finished(photographs, "predict", "run=photographs", "images=pictures/val", "top=1").stderr
    assert f"top-1 {results(photographs / 'runs/photographs')['test_top1']:.4f} of 12 images" in said


def test_files_of_a_data_set_in_memory_are_predicted_as_they_are_evaluated(trained, tmp_path):
    from sklearn.datasets import load_digits

    record, digits = Record.read(trained / "runs/short/evaluations/test-last"), load_digits()
    images = (digits.images * 255 // 16).astype(numpy.uint8)
    for number, pixels in enumerate(images[numpy.random.default_rng(0).permutation(1797)[:360]]):  # the test's
        Image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
    rows = asked(trained, "run=short", f"images={tmp_path}/*.png", "columns=[id,label,probability]")
    assert [int(row["id"]) for row in rows] == record.columns["index"].tolist()
    assert [float(row["probability"]) for row in rows] == [round(float(p), 6) for p in record.confidence]


def test_a_damaged_file_is_named_and_the_rest_goes_on(photographs, tmp_path):
    shutil.copy(photographs / "pictures/val/ant/0.jpeg", tmp_path / "a, b.jpeg")
    (tmp_path / "broken.jpeg").write_bytes(b"no image")
    done = finished(photographs, "predict", "run=photographs", f"images=[{tmp_path}]", "out=a.jsonl", "top=2")
    assert "broken.jpeg cannot be read" in done.stderr
    (row,) = map(json.loads, (photographs / "a.jsonl").read_text().splitlines())
    assert row["image"].endswith("a, b.jpeg") and {row["class"], row["class_2"]} == {"ant", "bee"}
    assert "no such file" in refused(photographs, "predict", "run=photographs", "images=nowhere/*")


def test_explanations_are_drawn(photographs):
    words = ("run=photographs", "images=[pictures/val/ant,pictures/val/bee/0.jpeg]", "output=seen")
    finished(photographs, "explain", *words)
    with Image.open(photographs / "seen.png") as sheet:
        assert sheet.height > 7 * 224


def test_one_record_of_one_device_or_two(trained):
    for words in (("split=val", "trainer=cpu"), ("split=val", *PAIR)):
        finished(trained, "evaluate", "run=short", *words)
        folder = trained / "runs/short/evaluations/val-last"
        content = [(folder / name).read_bytes() for name in ("evaluation.json", "predictions.npz")]
        first = locals().get("first", content)
    assert content == first


def test_an_ensemble_averages_probabilities_and_a_soup_weights(trained):
    for soup in ("false", "true"):  # of twice the same
        done = finished(trained, "evaluate", "run=[short,short]", f"soup={soup}", "trainer=cpu")
        assert done.table["test_loss"] == f"{results(trained / 'runs/short')['test_loss']:.6f}"
    assert "not the same" in refused(trained, "evaluate", "run=[short,whole]", "soup=true", "trainer=cpu")
