"""lineage compare: small networks through the real door, after a kill, under conditions, beyond limits."""

from types import SimpleNamespace

import pytest
from doors import finished, refused, results, start
from networks import rows

from lineage.analysis.networks import accuracies_of_runs, conditions, is_measured, ranked, read
from lineage.errors import UserError

DEPTHS = ("resnet_cifar arch.depth=20", "resnet_cifar arch.depth=32")
WORDS = (f"arch={','.join(DEPTHS)}", "datamodule=cifar10", "batch=4,1", "warm_up=1", "passes=2")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A folder in which a command was killed after its first network, and given again."""
    folder = tmp_path_factory.mktemp("compare")
    table = folder / "comparison" / "table.csv"
    first = start(folder, "compare", *WORDS)
    first.wait_for(table.exists)
    first.kill()
    first.wait()
    (row,) = read(table)
    assert "[1/1] ResNet-32" in finished(folder, "compare", *WORDS).stdout
    assert row.items() <= read(table)[0].items()  # measured once
    return folder


def test_counts_are_those_of_the_golden_table(compared):
    golden = {row.config: row for row in rows()}
    for row in read(compared / "comparison" / "table.csv"):
        known = golden[row["network"]]
        assert row["parameters"] == known.params and row["macs"] == pytest.approx(1e6 * known.macs, rel=1e-5)
        assert row["file_size"] > 4 * known.params and row["activations"] > 32 * 32 * 16 * 7
        assert row["images_per_second_1"] > 0 < row["images_per_second_4"] and row["threads"] == 1
        assert row["memory_1"] > row["file_size"] / 2 and "left_empty" not in row
    assert row["top1"] == pytest.approx(0.9249) and row["accuracy_of"] == "paper (Table 6)"


def test_charts_and_conditions(compared):
    done = finished(compared, "compare", *WORDS, "under='parameters<300k,fps>0.001'", "beside=comparison/table.csv")
    assert "ResNet-20" in done.stdout and "ResNet-32" not in done.stdout and "[1/" not in done.stdout
    page = (compared / "comparison" / "index.html").read_text()
    assert "Which fit parameters&lt;300k" in page and "Bianco" in page
    for chart in ("ball_top1", "density", "speed", "memory"):
        assert "ResNet-32 (CIFAR)" in (compared / "comparison" / f"{chart}.svg").read_text()
    wrong = refused(compared, "compare", *WORDS, OMP_NUM_THREADS="2")
    assert "with threads 1, which differs here: choose output=FOLDER" in wrong


@pytest.mark.parametrize(
    ("limit", "why"), [("seconds=0.001", "1, 20000 images: more than 0.001 s"), ("max_memory=60MB", "out of memory")]
)
def test_what_does_not_fit_is_left_empty(tmp_path, limit, why):
    words = (f"arch={DEPTHS[0]}", "datamodule=cifar10", "batch=1,20000", "passes=2", limit)
    assert why in finished(tmp_path, "compare", *words).stdout
    (row,) = read(tmp_path / "comparison" / "table.csv")
    assert why in row["left_empty"] and "images_per_second_20000" not in row


def test_a_row_is_measured_again_under_other_limits():
    row = {"images_per_second_1": 5.0, "left_empty": "8, 64 images: more than 60 s", "seconds": 60, "passes": 10}
    limits = {"seconds": 60, "passes": 10, "max_memory": None}
    assert is_measured(row, limits, [1, 64]) and is_measured(row, limits | {"seconds": 5}, [1])
    assert not is_measured(row, limits | {"seconds": 600}, [1, 64]) and not is_measured(row, limits, [1, 128])
    assert not is_measured(row, limits | {"passes": 3}, [1]) and not is_measured({}, limits, [1])


def test_there_is_no_such_device(tmp_path):
    assert "no CUDA" in refused(tmp_path, "compare", *WORDS, "device=cuda", CUDA_VISIBLE_DEVICES="")


def test_conditions():
    known = [{"name": "a", "top1": 0.7, "memory_8": 9e8}, {"name": "b", "memory_8": 1e8}, {"name": "c", "top1": 0.8}]
    assert [row["name"] for row in ranked(known, conditions("memory<1GB", 8))] == ["a", "b"]
    assert [row["name"] for row in ranked(known, conditions("top1 >= 70%", 8))] == ["c", "a"]
    assert conditions("memory<=2.5MB,parameters>1k", 4) == [("memory_4", "<=", 2.5e6), ("parameters", ">", 1000)]


def test_a_run_has_words_that_compare_does_not_read(tmp_path):
    finished(tmp_path, "train", "trainer=debug", "datamodule.val_size=100", "datamodule.resolution=40", "run=one")
    finished(tmp_path, "compare", "accuracy=runs", "run=one", "warm_up=1", "passes=2")
    (row,) = read(tmp_path / "comparison" / "table.csv")
    assert (row["network"], row["resolution"]) == ("lenet5", 40)
    assert row["top1"] == pytest.approx(results(tmp_path / "runs" / "one")["test_top1"])


def run_files(results: dict):
    """What a report reads of a finished run."""
    empty = dict.fromkeys(("test_top1", "test_top5", "resolution"))
    return SimpleNamespace(name="first", results={**empty, "datamodule": "mnist", "recipe": "wrn", **results})


def test_accuracies_of_runs():
    """Seeds of one network are averaged; what is not finished is left out; one data set."""
    jobs = [("arch.depth=8", 0.5), ("arch.depth=8", 0.7), ("arch.depth=14", 0.9), ("arch.depth=20", None)]
    runs = [run_files({"arch": "net", "overrides": [word, "seed=1"], "test_top1": top1}) for word, top1 in jobs]
    found, data = accuracies_of_runs(runs)
    means = {"net arch.depth=8": 0.6, "net arch.depth=14": 0.9}
    assert {network: row["top1"] for network, row in found.items()} == pytest.approx(means)
    assert found["net arch.depth=8"]["accuracy_of"] == "2 runs of wrn" and data[0] == "datamodule=mnist"
    with pytest.raises(UserError, match="runs have different data"):
        accuracies_of_runs([*runs, run_files({**runs[0].results, "datamodule": "svhn"})])
