"""Whole runs, as a user starts them: train, kill, continue, fail, sweep, evaluate; one process and two."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT, command

from running.checkpoints import read

# A small network under everything that is random: mixup, cutmix, RandAugment in workers, repetitions, stochastic depth.
EVERYTHING = (
    "arch=resnet_cifar arch.depth=8 arch.shortcut=B recipe=rsb_a2 recipe.epochs=3 recipe.warmup_epochs=1 "
    "recipe.ema=0.9 recipe.batch_size=256 recipe.grad_clip=1 trainer=cpu trainer.max_per_device=64 "
    "trainer.checkpoint_steps=1 trainer.log_every_n_steps=2 logger=csv datamodule.workers=1"
).split()
SHORT = "recipe.epochs=2 recipe.batch_size=128 recipe.decay_epochs=[1] trainer=cpu logger=csv".split()


def rows(folder):
    """metrics.csv without the columns of time."""
    with open(folder / "metrics.csv") as file:
        return [
            {k: v for k, v in row.items() if k not in ("images_per_second", "seconds")} for row in csv.DictReader(file)
        ]


def flat(name, value):
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(f"{name}.{key}", item).items()}
    if isinstance(value, list | tuple):
        return {k: v for i, item in enumerate(value) for k, v in flat(f"{name}.{i}", item).items()}
    return {name: value}


def assert_same_state(a, b):
    """Everything in two checkpoints is equal, but for the clock."""
    one, other = (flat("", read(folder / "checkpoints" / "last.ckpt")) for folder in (a, b))
    assert one.keys() == other.keys()
    for key, value in one.items():
        if not key.endswith("seconds"):
            same = torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
            assert same, key


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with two finished runs: `whole`, of everything, and `short`."""
    folder = tmp_path_factory.mktemp("runs")
    for words in ((*EVERYTHING, "run=whole"), (*SHORT, "run=short")):
        done = command(folder, "train.py", *words)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_what_it_should(runs):
    folder = runs / "runs" / "short"
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.yaml", "overrides.yaml", "train.log", "metrics.csv", "checkpoints", "results.json"}
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    results = json.loads((folder / "results.json").read_text())
    assert results["parameters"] == 61_706 and results["macs"] == 416_520 and results["seed"] == 0
    assert results["steps"] == 18 and results["epochs"] == 2 and results["devices"] == 1
    assert 0 <= results["test_top1"] <= results["test_top5"] <= 1 and results["images_per_second"] > 0
    assert any("mirror" in note for note in results["notes"])
    assert [row["epoch"] for row in rows(folder)] == ["1", "2", "2"]
    state = read(folder / "checkpoints" / "last.ckpt")  # data, never code
    assert state["global_step"] == 18


def kill_after(folder, name, words, checkpoints):
    """Start a run and kill it, without warning, once it has written so many checkpoints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words, f"run={name}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        last, seen, stamp = folder / "runs" / name / "checkpoints" / "last.ckpt", 0, None
        deadline = time.monotonic() + 120
        while seen < checkpoints and process.poll() is None and time.monotonic() < deadline:
            now = last.stat().st_mtime_ns if last.exists() else None
            seen, stamp = seen + (now != stamp), now
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
    assert seen >= checkpoints


def test_a_killed_run_ends_bit_for_bit_as_if_it_had_not_been(runs):
    for checkpoints in (2, 4):  # in the middle of the first epoch; then of the second
        kill_after(runs, "killed", EVERYTHING, checkpoints)
    # nor does the number of workers matter
    done = command(runs, "train.py", *EVERYTHING, "run=killed", "datamodule.workers=0")
    assert done.returncode == 0 and "continues" in done.stdout, done.stderr
    assert_same_state(runs / "runs" / "whole", runs / "runs" / "killed")
    assert rows(runs / "runs" / "whole") == rows(runs / "runs" / "killed")
    old, new = (json.loads((runs / "runs" / name / "results.json").read_text()) for name in ("whole", "killed"))
    assert all(old[name] == new[name] for name in old if name.startswith(("test_", "val_", "train_", "steps")))


def test_so_does_a_killed_run_of_two_processes(runs):
    """Each has its own BN statistics within an epoch, and gets its own back."""
    words = (*EVERYTHING, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "datamodule.workers=0")
    done = command(runs, "train.py", *words, "run=whole-pair")
    assert done.returncode == 0, done.stderr
    kill_after(runs, "killed-pair", words, 3)
    done = command(runs, "train.py", *words, "run=killed-pair")
    assert done.returncode == 0 and "continues" in done.stdout, done.stderr
    assert_same_state(runs / "runs" / "whole-pair", runs / "runs" / "killed-pair")
    assert rows(runs / "runs" / "whole-pair") == rows(runs / "runs" / "killed-pair")


def test_two_processes_take_the_steps_of_one_with_two_micro_batches(runs):
    words = (*SHORT, "recipe.drop_last=false")
    one = command(runs, "train.py", *words, "run=one", "trainer.max_per_device=64")
    two = command(runs, "train.py", *words, "run=two", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert "64 per device x 1 accumulated x 2 devices = 128" in two.stdout
    states = [read(runs / "runs" / name / "checkpoints" / "last.ckpt") for name in ("one", "two")]
    for key, value in states[0]["state_dict"].items():
        torch.testing.assert_close(value, states[1]["state_dict"][key], rtol=1e-4, atol=1e-5)
    evaluated = command(
        runs, "evaluate.py", "run=one", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "logger=none"
    )
    results = json.loads((runs / "runs" / "one" / "results.json").read_text())
    assert evaluated.returncode == 0, evaluated.stderr
    for name in ("test_top1", "test_top5", "test_loss"):
        found = next(float(line.split()[1]) for line in evaluated.stdout.splitlines() if line.startswith(name))
        assert found == pytest.approx(results[name], abs=1e-6)


def test_evaluation_repeats_the_runs_test(runs):
    for name in ("whole", "short"):  # the first tests averaged weights
        done = command(runs, "evaluate.py", f"run={name}", "trainer=cpu")
        results = json.loads((runs / "runs" / name / "results.json").read_text())
        assert f"test_loss  {results['test_loss']:.6f}" in done.stdout, done.stdout + done.stderr
        assert f"test_top1  {results['test_top1']:.6f}" in done.stdout
    for words, hint in (
        (("run=shrt",), "short"),
        (("run=short", "arch=resnet18"), "another network"),
        (("run=short", "split=tset"), "test, val, train"),
        ((), "run=NAME"),
    ):
        done = command(runs, "evaluate.py", *words)
        assert done.returncode == 1 and hint in done.stderr and "Traceback" not in done.stderr


def test_a_finished_run_is_left_alone_and_another_under_its_name_refused(runs):
    done = command(runs, "train.py", *SHORT, "run=short")
    assert done.returncode == 0 and "is finished" in done.stdout
    unfinished = runs / "runs" / "short" / "results.json"
    text = unfinished.read_text()
    unfinished.unlink()
    done = command(runs, "train.py", *SHORT, "run=short", "seed=1")
    assert done.returncode == 1 and "seed=0" in done.stderr and "seed=1" in done.stderr
    done = command(runs, "train.py", *SHORT, "run=short", "logger=none")  # trained already: only the test is missing
    assert done.returncode == 0, done.stderr
    again = json.loads(unfinished.read_text())
    assert again["test_loss"] == json.loads(text)["test_loss"]


def test_a_truncated_checkpoint_falls_back_to_the_one_before(runs):
    words = (*SHORT, "run=cut", "trainer.checkpoint_steps=4")
    assert command(runs, "train.py", *words).returncode == 0
    folder = runs / "runs" / "cut"
    (folder / "results.json").unlink()
    last = folder / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    last.unlink()  # last and best are one file
    last.write_bytes(content[: len(content) // 2])
    done = command(runs, "train.py", *words)
    assert done.returncode == 0, done.stderr
    assert "last.ckpt is damaged" in done.stdout and "previous.ckpt" in done.stdout
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / "checkpoints" / name).unlink()
        (folder / "checkpoints" / name).write_bytes(b"PK")
    (folder / "results.json").unlink()
    done = command(runs, "train.py", *words)
    assert done.returncode == 1 and "damaged" in done.stderr and "Traceback" not in done.stderr


def test_divergence_stops_at_once_and_keeps_the_last_checkpoint(runs):
    words = [word for word in SHORT if "decay" not in word]
    done = command(runs, "train.py", *words, "run=nan", "recipe.lr=1e12", "trainer.checkpoint_steps=1")
    assert done.returncode == 1 and "diverged" in done.stderr and "Traceback" not in done.stderr
    last = read(runs / "runs" / "nan" / "checkpoints" / "last.ckpt")
    assert last["global_step"] <= 3 and "Traceback" in (runs / "runs" / "nan" / "train.log").read_text()


REFUSED = {
    "arch=alexnet arch.stem=imagenet": "alexnet needs images of at least",
    "recipe.batch_size=33 trainer=ddp trainer.accelerator=cpu trainer.devices=2": "32 or 34",
    "datamodule=imagenet": "datamodule.root=FOLDER",
    "arch=timm arch.model_name=resnt18": "resnet18",
    "+trainer.nothing=1": "nothing",
    "+arch.nothing=1": "nothing",
    "arch.variant=modrn": "modern, 1998",
    "trainer.precision=17": "precision",
    "datamodule.val_size=5000": "1,437 training images",
}


@pytest.mark.parametrize(("words", "hint"), REFUSED.items())
def test_what_cannot_be_built_is_refused_in_a_line_or_two(tmp_path, words, hint):
    done = command(tmp_path, "train.py", *words.split(), "run=refused")
    assert done.returncode == 1 and hint.lower() in done.stderr.lower(), done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_sweep_ranks_its_jobs_names_the_failed_and_runs_only_what_is_missing(tmp_path):
    words = ("-m", "recipe.lr=0.05,1e12", "run=grid", *[word for word in SHORT if "lr" not in word])
    done = command(tmp_path, "train.py", *words)
    assert done.returncode == 1 and "failed: " in done.stdout and "[2/2]" in done.stdout, done.stderr
    finished = [path.parent for path in (tmp_path / "runs" / "grid").glob("*/results.json")]
    assert len(finished) == 1 and "recipe.lr=0.05" in finished[0].name
    stamp = (finished[0] / "results.json").stat().st_mtime_ns
    again = command(tmp_path, "train.py", *words)
    assert again.returncode == 1 and "finished before" in again.stdout
    assert (finished[0] / "results.json").stat().st_mtime_ns == stamp


@pytest.mark.proofs
def test_compiled_and_plain_runs_read_each_others_checkpoints(runs):
    done = command(runs, "train.py", *SHORT, "run=compiled", "trainer.compile=true")
    assert done.returncode == 0 and "compiled" in done.stdout, done.stderr
    plain, compiled = (read(runs / "runs" / name / "checkpoints" / "last.ckpt") for name in ("short", "compiled"))
    assert plain["state_dict"].keys() == compiled["state_dict"].keys()
    for key, value in plain["state_dict"].items():
        torch.testing.assert_close(value, compiled["state_dict"][key], rtol=1e-3, atol=1e-4)
    (runs / "runs" / "compiled" / "results.json").unlink()
    assert command(runs, "train.py", *SHORT, "run=compiled").returncode == 0


def test_logger_wandb_is_offline_without_a_key(tmp_path):
    environment = {"WANDB_API_KEY": "", "HOME": str(tmp_path), "WANDB_SILENT": "true"}
    done = command(
        tmp_path, "train.py", *[w for w in SHORT if "logger" not in w], "logger=wandb", "run=w", **environment
    )
    assert done.returncode == 0, done.stderr
    assert "no key" in done.stdout and list((tmp_path / "runs" / "w" / "wandb").glob("offline-run-*"))


@pytest.mark.proofs
def test_the_default_run_learns(tmp_path):
    done = command(tmp_path, "train.py", "run=default")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "default" / "results.json").read_text())["test_top1"] >= 0.97


@pytest.mark.proofs
def test_lenet5_on_mnist(tmp_path, real_data):
    done = command(tmp_path, "train.py", "experiment=lenet5_mnist", "run=mnist", LINEAGE_DATA=str(real_data))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "mnist" / "results.json").read_text())["test_top1"] >= 0.99
