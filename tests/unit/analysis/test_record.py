"""The record of an evaluation against scikit-learn, torchmetrics and formulas in float64; its files."""

from dataclasses import replace

import numpy
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss, precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_calibration_error

from lineage.analysis import record as records
from lineage.analysis.measures import confused_pairs, wilson
from lineage.analysis.record import Record, summary
from lineage.errors import UserError
from lineage.recipes.predictions import Predictions


def made(images: int = 400, classes: int = 12, split: str = "test") -> tuple[Record, numpy.ndarray]:
    """A record of random predictions, right about half of the time, and its logits."""
    rng = numpy.random.default_rng(0)
    label = rng.integers(0, classes - 1, images)  # the last class has no image
    logits = rng.normal(size=(images, classes)).astype(numpy.float32) * 2
    logits[numpy.arange(images), label] += 2
    predictions = Predictions(top=records.TOP, keep_logits=True, exact=True)
    tensors = map(torch.from_numpy, (numpy.arange(images), label, numpy.zeros(images), logits))
    predictions.add(*tensors)
    columns = {**predictions.gather(), "path": numpy.array([b"a/\xff.png"] * images)}
    metrics = {f"{split}_top1": float((logits.argmax(axis=1) == label).mean())}
    return Record(split, "last", metrics, [f"class {i}" for i in range(classes)], columns, {"data": "d1"}), logits


@pytest.mark.parametrize("classes", [12, 50])  # fewer and more than are kept
def test_measures_equal_the_libraries(classes):
    record, logits = made(classes=classes)
    exact, label = log_softmax(logits.astype(numpy.float64), axis=1), record.label
    expected = precision_recall_fscore_support(label, logits.argmax(1), labels=range(classes), zero_division=0)
    for ours, theirs in zip(record.per_class[1:], expected, strict=False):
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert record.nll == pytest.approx(log_loss(label, numpy.exp(exact), labels=range(classes)), rel=1e-9)
    brier = ((numpy.exp(exact) - numpy.eye(classes)[label]) ** 2).sum(axis=1).mean()
    assert record.brier == pytest.approx(brier, rel=1e-6)
    probabilities = torch.from_numpy(numpy.exp(exact)).float()
    ece = multiclass_calibration_error(probabilities, torch.from_numpy(label), classes, n_bins=15)
    assert record.calibration.ece == pytest.approx(float(ece), abs=1e-6)
    scaled = -log_softmax(logits.astype(numpy.float64) / 1.7, axis=1)[numpy.arange(len(label)), label].mean()
    assert record.softmax.nll(1.7) == pytest.approx(scaled, rel=1e-6 if classes <= records.TOP else 1e-2)
    best = record.softmax.best_temperature()
    assert record.softmax.nll(best) <= min(record.softmax.nll(best * near) for near in (0.98, 1, 1.02))


def test_pairs_and_intervals():
    label, predicted = numpy.array([0, 0, 1, 2, 2, 2]), numpy.array([1, 0, 1, 0, 0, 1])
    assert confused_pairs(label, predicted) == [(2, 0, 2), (0, 1, 1), (2, 1, 1)]
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)  # statsmodels.proportion_confint
    assert wilson(5, 5)[1] == 1


def test_a_record_comes_back_with_the_same_bytes(tmp_path):
    record, logits = made()
    for name in ("one", "two"):
        record.write(tmp_path / name)
    again = Record.read(tmp_path / "one")
    again.write(tmp_path / "three")
    for file in (records.METRICS, records.PREDICTIONS):
        assert len({(tmp_path / name / file).read_bytes() for name in ("one", "two", "three")}) == 1
    assert again.columns["path"][0] == b"a/\xff.png" and again.name == "test-last" and again.values() == record.values()
    numpy.testing.assert_array_equal(again.columns["logits"], logits.astype(numpy.float16))
    assert not records.keeps_logits(50_000, 1_000) and records.keeps_logits(50_000, 600)


def test_different_evaluations_have_different_folders():
    record, _ = made()
    names = [replace(record, differs=differs).name for differs in ("crop=1", "x" * 200, "x" * 201, "a/b", "a b")]
    assert names[0] == "test-last-crop=1" and len(set(names)) == 5
    assert all(len(name) < 160 and "/" not in name for name in names)


WRONG = {"label": numpy.full(400, 12), "top_class": numpy.full((400, 12), -1), "loss": numpy.zeros(399)}
WRONG |= {"index": numpy.zeros(400), "path": numpy.array([{}] * 400)}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_from_elsewhere_is_checked(tmp_path, name):
    record, _ = made()
    record.write(tmp_path)
    numpy.savez(tmp_path / records.PREDICTIONS, **{**record.columns, name: WRONG[name]})
    with pytest.raises(UserError, match="is damaged"):
        Record.read(tmp_path)


def test_damaged_files(tmp_path):
    with pytest.raises(UserError, match="holds no evaluation"):
        Record.read(tmp_path)
    record, _ = made()
    record.write(tmp_path)
    numpy.savez_compressed(tmp_path / records.PREDICTIONS, **record.columns)
    with pytest.raises(UserError, match="compressed"):
        Record.read(tmp_path)
    (tmp_path / records.PREDICTIONS).write_bytes(b"PK")
    with pytest.raises(UserError, match="is damaged"):
        Record.read(tmp_path)


def test_the_summary():
    record, _ = made()
    rows = summary(replace(record, classes=[f"{name}\x1b[31m" for name in record.classes]))
    assert "\x1b" not in str(rows) and "class 0\ufffd[31m" in str(rows)
    assert "95 % interval" in rows["test top-1"] and rows["worst classes"].count(" of ") == 5
    assert "class 11" not in rows["worst classes"]  # it has no image
    assert rows["calibration"].startswith("ECE 0.")
