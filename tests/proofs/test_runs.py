"""Whole runs that take their time: the accuracies that README states, and torch.compile."""

import pytest
import torch
from doors import command, results
from runs.states import SHORT

from lineage.running.checkpoints import read

pytestmark = pytest.mark.proofs


def test_compiled_and_plain_runs_read_each_others_checkpoints(tmp_path):
    for words in (("run=plain",), ("run=compiled", "trainer.compile=true")):
        done = command(tmp_path, "train", *SHORT, *words)
        assert done.returncode == 0, done.stderr
    assert "compiled" in done.stdout
    runs = tmp_path / "runs"
    plain, compiled = (read(runs / name / "checkpoints" / "last.ckpt") for name in ("plain", "compiled"))
    assert plain["state_dict"].keys() == compiled["state_dict"].keys()
    for key, value in plain["state_dict"].items():
        torch.testing.assert_close(value, compiled["state_dict"][key], rtol=1e-3, atol=1e-4)
    (runs / "compiled" / "results.json").unlink()
    assert command(tmp_path, "train", *SHORT, "run=compiled").returncode == 0


def test_no_compiler(tmp_path):
    done = command(tmp_path, "train", *SHORT, "trainer.compile=true", "run=a", PATH="/nowhere", CXX="nothing-here")
    assert done.returncode == 1 and "C++ compiler" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_the_default_run_learns(tmp_path):
    done = command(tmp_path, "train", "run=default")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "runs" / "default")["test_top1"] >= 0.97


def test_lenet5_on_mnist(tmp_path, real_data):
    done = command(tmp_path, "train", "experiment=lenet5_mnist", "run=mnist", LINEAGE_DATA=str(real_data))
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "runs" / "mnist")["test_top1"] >= 0.985
