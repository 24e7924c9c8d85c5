"""Measures, charts and tables of predictions, networks and runs that are made by hand."""

import json

import numpy
import pytest

from lineage.analysis import charts, measures, network_charts
from lineage.analysis.answers import answers, table
from lineage.analysis.contact_sheet import overlaid
from lineage.analysis.pages.comparison import Group, _pairs
from lineage.analysis.pages.run_files import RunFiles
from lineage.analysis.papers import accuracy
from lineage.analysis.record import Record

LABEL = [0, 0, 0, 1, 1, 2]
TOP_CLASS = [[0, 1], [0, 1], [1, 2], [1, 0], [1, 2], [0, 2]]
TOP_PROBABILITY = [[0.9, 0.04], [0.6, 0.2], [0.8, 0.1], [0.7, 0.2], [0.5, 0.2], [0.95, 0.02]]


@pytest.fixture
def record() -> Record:
    """Six images of five classes, of which two are kept; 4 are right, and 5 within the first two."""
    columns = {"label": numpy.array(LABEL), "top_class": numpy.array(TOP_CLASS), "index": numpy.arange(10, 16)}
    columns |= {"top_probability": numpy.array(TOP_PROBABILITY), "path": numpy.array([b"a.png", *[b""] * 5])}
    columns |= {"true_logit": numpy.zeros(6), "log_sum_exp": numpy.zeros(6), "brier": numpy.zeros(6)}
    return Record("test", "last", {"test_top1": 4 / 6, "test_top5": 5 / 6}, list("abcde"), columns)


def test_a_record(record):
    assert record.interval() == measures.wilson(4, 6) and record.interval(2) == measures.wilson(5, 6)
    assert record.values()["intervals"]["test_top5"] == list(measures.wilson(5, 6))
    assert record.worst_classes == [2, 0, 1] and record.most_confidently_wrong(1) == [5]
    assert record.path(0) == "a.png" and record.path(1) == "number 11"
    shares = numpy.exp(record.log_probabilities(numpy.array([1, 4])))
    numpy.testing.assert_allclose(shares, [[0.6, 0.2] + [0.2 / 3] * 3, [0.1, 0.5, 0.2, 0.1, 0.1]], rtol=1e-6)
    by_class = record.per_class
    assert by_class.recall.tolist() == [2 / 3, 1, 0, 0, 0] and by_class.precision.tolist() == [2 / 3, 2 / 3, 0, 0, 0]


def test_the_matrix_of_pairs():
    counts = measures.confusion(numpy.array(LABEL), numpy.array(TOP_CLASS)[:, 0], 3)
    assert counts.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    order = measures.leaf_order(numpy.array([[5, 0, 5, 0], [0, 5, 0, 4], [5, 0, 5, 0], [0, 6, 0, 5]]))
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}


def test_calibration():
    found = measures.calibration(numpy.array([0.2, 0.4, 0.9, 0.8]), numpy.array([False, True, True, False]), bins=3)
    assert found.ece == pytest.approx((0.2 + 0.6 + 2 * 0.35) / 4) and found.images.tolist() == [1, 1, 2]
    assert found.accuracy.tolist() == [0, 1, 0.5] and found.confidence == pytest.approx([0.2, 0.4, 0.85])
    # Even images are right, odd ones as often wrong: each half is rescaled as the other one needs it.
    logits = numpy.tile([2.0, 0.0], (8, 1))
    softmax = measures.Softmax(logits, numpy.array([1, 1]), numpy.array([2.0, 2, 2, 0, 2, 2, 2, 0]))
    rescaled = softmax.rescaled_confidence()
    assert rescaled[::2].max() < 0.6 and rescaled[1::2].min() > 0.99


def lines(figure) -> list[list[float]]:
    return [line.get_ydata().tolist() for line in figure.axes[0].get_lines()]


def test_curves():
    series = {"a": {1.0: [0.2, 0.4], 2.0: [0.9, 0.5]}, "b": {1.0: [0.5]}}
    figure = charts.curves(series, "top-1", best=True)
    assert lines(figure) == [pytest.approx([0.3, 0.7]), [0.5], [0.9]]
    assert figure.axes[0].get_lines()[0].get_xdata().tolist() == [1, 2]
    (band,) = figure.axes[0].collections
    assert set(band.get_paths()[0].vertices[:, 1]) == {0.2, 0.4, 0.5, 0.9}
    assert lines(charts.effect({"10": [0.5, 0.7], "2": [0.4]}, "lr"))[-1] == pytest.approx([0.4, 0.6])
    axes = charts.rate_range([0.1, 1.0], [2.0, 1.0], [1.9, 1.2], chosen=0.5).axes[0]
    assert axes.get_xscale() == "log" and list(axes.get_lines()[-1].get_xdata()) == [0.5, 0.5]


def test_charts_of_networks():
    row = {"name": "a", "top1": 0.7, "top5": 0.9, "accuracy_of": "paper", "macs": 2e9, "parameters": 5e6}
    row |= {"images_per_second_8": 40.0, "memory_1": 1e8, "memory_8": 4e8}
    ball = network_charts.balls([row], "top5").axes[0].collections[0]
    assert ball.get_offsets().tolist() == [[2e9, 90]] and ball.get_sizes() == pytest.approx([100])
    disc = network_charts.speed({"one": [row]}, 8).axes[0].collections[0]
    assert disc.get_offsets().tolist() == [[40, 70]]
    assert network_charts.density([row]).axes[0].patches[0].get_width() == pytest.approx(14)
    assert lines(network_charts.memory([{**row, "images_per_second_1": 9.0}])) == [[1e8, 4e8]]


def test_answers():
    found = answers(["x/1.png"], [1], numpy.log([[1.0, 6.0, 3.0]]), top=2)
    assert found[0].classes == [1, 2] and found[0].probabilities == pytest.approx([0.6, 0.3])
    rows = table(found, ["a", "b", "c"], ["id", "label", "probability"], "jsonl")
    assert json.loads(rows) == {"id": "1", "label": 1, "probability": 0.6, "label_2": 2, "probability_2": 0.3}


def test_a_map_is_laid_over_its_image():
    pixels = numpy.asarray(overlaid(numpy.full((4, 4, 3), 100, numpy.uint8), numpy.array([[0.0, 9.0], [0.0, 9.0]])))
    assert pixels[0, 0].tolist() == [100, 100, 100] and pixels[0, -1, 0] > 190 > pixels[0, -1, 2] > 50


def test_numbers_of_the_papers():
    """One crop, though the paper's Table 3 has ten, too; as fractions."""
    assert accuracy("resnet50", "imagenet")["top1"] == 0.753 and accuracy("resnet50", "mnist") == {}


def run(folder, top1: float, correct: list[bool]) -> RunFiles:
    """A finished run of two epochs of ten steps, continued at step 15."""
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"test_top1": top1, "overrides": ["+recipe.lr=0.1"]}))
    rows = "epoch,step,lr,val_top1\n0,0,0.1,0.1\n1,10,0.1,0.4\n2,20,0.1,0.6\n2,20,,0.5\n"
    (folder / "metrics.csv").write_text(rows)
    (folder / "train.log").write_text("x  continues: at step 15, from last.ckpt\n")
    wrong = ~numpy.array(correct)
    columns = {"label": numpy.zeros(len(correct), int), "top_class": wrong[:, None].astype(int)}
    found = RunFiles(folder.name, folder)
    found.__dict__["records"] = [Record("test", "last", {}, ["a", "b"], columns)]
    return found


def test_runs_beside_each_other(tmp_path):
    one = run(tmp_path / "one", 0.5, [True, True, True, True, False, False])
    two = run(tmp_path / "two", 0.7, [False, False, True, False, False, True])
    group = Group("both", [one, two])
    assert (group.mean("test_top1"), group.spread("test_top1")) == pytest.approx((0.6, 0.2 / 2**0.5))
    assert one.curve("val_top1") == {1: [0.4], 2: [0.6]} and one.stops == [1.5] and one.settings == {"recipe.lr": "0.1"}
    ((_, first, second, neither, chance),) = _pairs([one, two])
    assert (first, second, neither) == (3, 1, 1) and chance == pytest.approx(10 / 16)  # 2 (1 + 4) / 2^4
