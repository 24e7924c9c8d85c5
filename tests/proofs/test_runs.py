"""Whole runs that take their time: the accuracies that README states, and torch.compile."""

import pytest
import torch
from doors import finished, refused, results
from runs.states import SHORT

from lineage.running.checkpoints import read

pytestmark = pytest.mark.proofs


def test_compiled_and_plain_runs_read_each_others_checkpoints(tmp_path):
    finished(tmp_path, "train", *SHORT, "run=plain")
    assert "compiled" in finished(tmp_path, "train", *SHORT, "run=compiled", "trainer.compile=true").stdout
    runs = tmp_path / "runs"
    plain, compiled = (read(runs / name / "checkpoints" / "last.ckpt") for name in ("plain", "compiled"))
    assert plain["state_dict"].keys() == compiled["state_dict"].keys()
    for key, value in plain["state_dict"].items():
        torch.testing.assert_close(value, compiled["state_dict"][key], rtol=1e-3, atol=1e-4)
    (runs / "compiled" / "results.json").unlink()
    finished(tmp_path, "train", *SHORT, "run=compiled")


def test_no_compiler(tmp_path):
    words = (*SHORT, "trainer.compile=true", "run=a")
    assert "C++ compiler" in refused(tmp_path, "train", *words, PATH="/nowhere", CXX="nothing-here")


def test_the_default_run_learns(tmp_path):
    finished(tmp_path, "train", "run=default")
    assert results(tmp_path / "runs" / "default")["test_top1"] >= 0.97


def test_lenet5_on_mnist(tmp_path, real_data):
    finished(tmp_path, "train", "experiment=lenet5_mnist", "run=mnist", LINEAGE_DATA=str(real_data))
    assert results(tmp_path / "runs" / "mnist")["test_top1"] >= 0.985
