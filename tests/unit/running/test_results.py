"""What a run writes of itself: rows of metrics, the state of the code, memory, the weights that were tested."""

import logging
import os
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import composed
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from lineage.reporting import metrics_csv, results
from lineage.reporting.metrics_csv import MetricsCSV
from lineage.running import evaluations, precision, run, trainer
from lineage.running.early_stopping import EarlyStopping


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("metrics.csv", "epoch,test_top1,train_loss,step\n1,,2.5,5\n2,0.9,1.5,10\n3,,0.5,15\n",
         [["1", "", "2.5", "5"], ["2", "", "1.5", "10"]]),
        ("metrics.csv", "epoch,test_top1,train_loss,step\n1,,2.5,5\n2,,1.5,1", [["1", "", "2.5", "5"]]),  # 10, cut
        ("metrics.csv", "epoch,test_top1,train_loss,step\n1,,2.5,5\n2,\n", [["1", "", "2.5", "5"]]),
        ("steps.csv", "step,lr,step_loss,lr-SGD\n8,0.1,2,\n10,0.1,1,\n10,,,0.1\n12,0.1,3,\n",
         [["8", "0.1", "2", ""], ["10", "0.1", "1", ""]]),  # LearningRateMonitor writes after the step was saved
        ("steps.csv", "\0", []),
    ],
)  # fmt: skip
def test_a_run_that_goes_on_keeps_whole_rows_until_its_step(tmp_path, name, text, kept):
    (tmp_path / name).write_text(text)
    metrics_csv.keep_until(tmp_path, 10)
    head, *rows = (line.split(",") for line in (tmp_path / name).read_text().splitlines())
    assert rows == kept and (head == text.split("\n")[0].split(",") or not kept)


def test_rows_of_epochs_and_steps(tmp_path, monkeypatch):
    for rank in (0, 1):  # the second one writes nothing
        monkeypatch.setattr(rank_zero_only, "rank", rank)
        logger = MetricsCSV(str(tmp_path))
        logger.log_metrics({"step_loss": 2.0, "lr": 0.1}, step=2)
        logger.log_metrics({"epoch": 1, "lr": 0.1, "train_loss": 1.0, "seconds": 9.0}, step=5)
        logger.log_metrics({"step_loss": 1.0, "lr": 0.1, "own": 7.0}, step=6)
        logger.log_metrics({"epoch": 2, "lr": 0.1, "train_loss": 0.5, "seconds": 19.0}, step=10)
        logger.log_metrics({"epoch": 2, "test_loss": 0.25, "test_top1": 0.75}, step=10)
    assert (tmp_path / "steps.csv").read_text() == "step,lr,step_loss,own\n2,0.1,2.0,\n6,0.1,1.0,7.0\n"
    _, rows = metrics_csv.read(tmp_path / "metrics.csv")
    told = [(row["epoch"], row["step"], row["train_loss"], row["seconds"], row["test_top1"]) for row in rows]
    assert told == [("1", "5", "1.0", "9.0", ""), ("2", "10", "0.5", "19.0", "0.75")]


def test_the_commit_is_that_of_the_code(tmp_path, monkeypatch):
    def git(folder, *words: str) -> str:
        identity = "-c user.name=a -c user.email=a@b.c".split()
        return subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True).stdout.strip()

    commits = {}
    for name in ("code", "user"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.py").write_text(name)
        for words in ("init", "add .", "commit -m a"):
            git(tmp_path / name, *words.split())
        commits[name] = git(tmp_path / name, "rev-parse", "HEAD")
    monkeypatch.chdir(tmp_path / "user")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "code" / "results.py"))
    assert len(set(commits.values())) == 2 and results.git_state() == {"commit": commits["code"], "dirty": False}
    (tmp_path / "code" / "results.py").write_text("changed")
    assert results.git_state() == {"commit": commits["code"], "dirty": True}
    (tmp_path / "code" / "installed.py").write_text("in an environment within some repository")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "code" / "installed.py"))
    assert results.git_state() == {"commit": None, "dirty": None}


@pytest.mark.parametrize(("system", "expected"), [("linux", 300 * 2**20), ("darwin", 300 * 2**10)])
def test_memory_is_in_bytes(monkeypatch, system, expected):
    """getrusage counts in kilobytes, on macOS in bytes."""
    monkeypatch.setattr("resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=300 * 2**10))
    monkeypatch.setattr("sys.platform", system)
    assert results.peak_memory(torch.device("cpu")) == expected


def networks() -> list[nn.Module]:
    found: list[nn.Module] = [nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3)).eval() for _ in range(2)]
    for value, network in enumerate(found):
        nn.init.constant_(network[0].weight, value)  # type: ignore[index]
    return found


def test_several_networks_make_one_of_mean_weights_or_of_mean_probabilities():
    first, second = networks()
    assert evaluations.combined([first], soup=True) is first
    inputs = torch.tensor([[1.0, 2.0]])
    both = evaluations.combined([first, second], soup=False)(inputs).softmax(1)
    torch.testing.assert_close(both, (first(inputs).softmax(1) + second(inputs).softmax(1)) / 2)
    mean: Any = evaluations.combined([first, second], soup=True)
    assert mean[0].weight.unique().tolist() == [0.5]


def test_a_checksum_notices_weights_and_statistics_and_not_how_many_batches_were_seen():
    network, other = networks()
    sums = [evaluations.checksum(network), evaluations.checksum(other)]
    network[1].num_batches_tracked += 1
    assert evaluations.checksum(network) == sums[0]
    network[1].running_mean += 1
    assert len({*sums, evaluations.checksum(network)}) == 3


@pytest.mark.parametrize(
    ("accelerator", "mixed", "cuda", "bf16", "macs", "expected"),
    [
        ("auto", False, True, True, 1e9, "32-true"),
        ("gpu", True, True, True, 1e5, "bf16-mixed"),
        ("auto", True, True, False, 1e9, "16-mixed"),
        ("cpu", True, True, True, 1e6, "32-true"),
        ("cpu", True, False, True, 1e9, "bf16-mixed"),
        ("cpu", True, False, False, 1e9, "32-true"),
    ],
)
def test_precision_is_mixed_where_the_device_gains(monkeypatch, accelerator, mixed, cuda, bf16, macs, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(precision, "cpu_computes_in_bf16", lambda: bf16)
    assert precision.choose_precision(accelerator, mixed, macs) == expected


@pytest.mark.parametrize(
    ("accelerator", "devices", "count"), [("cpu", 3, 3), ("cpu", "auto", 1), ("cpu", [0, 2], 2), ("auto", "4", 4)]
)
def test_devices_of_a_machine_without_gpus(monkeypatch, accelerator, devices, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trainer.count_devices(accelerator, devices) == count


@pytest.mark.parametrize(("benchmark", "deterministic", "taken"), [(True, False, True), (True, "warn", False)])
def test_the_fastest_kernels_are_not_taken_where_a_run_must_repeat(benchmark, deterministic, taken):
    machine = {**composed().trainer, "benchmark": benchmark, "deterministic": deterministic, "accelerator": "cpu"}
    machine |= {"macs": 0, "logger": (), "callbacks": (), "default_root_dir": None}
    trainer.prepare_process(keep_memory=False)
    assert trainer.lightning_arguments(machine)["benchmark"] == taken


def test_patience_is_the_commands():
    stopping = EarlyStopping("val_loss", patience=4)
    stopping.load_state_dict({**EarlyStopping("val_loss", patience=1).state_dict(), "wait_count": 1})
    assert (stopping.patience, stopping.wait_count) == (4, 1)


def test_the_log_has_the_error_that_ended_a_run_and_is_closed(tmp_path):
    open_files = len(os.listdir("/proc/self/fd"))
    for number in range(2):
        with pytest.raises(ZeroDivisionError), run.logged(tmp_path / "train.log"):
            logging.getLogger("lineage").info(f"line {number}")
            1 / 0  # noqa: B018
    logging.getLogger("lineage").info("afterwards")
    lines = [line[20:] for line in (tmp_path / "train.log").read_text().splitlines()]
    assert [line for line in lines if line.startswith(("line ", "division", "after"))] == [
        "line 0", "division by zero", "line 1", "division by zero"
    ]  # fmt: skip
    assert len(os.listdir("/proc/self/fd")) == open_files
