"""Sweeps as a user types them: grids and searches, their launchers, stops and kills."""

import json
import os
import signal
from pathlib import Path

import pytest
from doors import command, finished, refused, results, start
from processes import children, is_gone
from runs.states import EVERYTHING, SHORT, assert_same_run, rows

GRID = ("-m", "recipe.lr=0.05,1e8", "run=grid", *SHORT)


@pytest.mark.parametrize("launcher", ["processes", pytest.param("basic", marks=pytest.mark.proofs)])
def test_a_sweep_ranks_its_jobs_names_the_failed_and_runs_only_what_is_missing(tmp_path, launcher):
    done = command(tmp_path, "train", *GRID, f"hydra/launcher={launcher}")
    assert done.returncode == 1 and "failed: 2" in done.stdout and "val top-1" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    (found,) = (tmp_path / "runs" / "grid").glob("*/results.json")
    stamp, job = found.stat().st_mtime_ns, found.parent.name
    again = command(tmp_path, "train", *GRID)
    assert again.returncode == 1 and "finished before" in again.stdout
    assert "recipe.lr-0.05" in job and found.stat().st_mtime_ns == stamp
    for name in ("grid/1", f"grid/{job[:-3]}", "grid/lr-0.05"):  # number, beginning, a word of it
        assert "test_top1" in finished(tmp_path, "evaluate", f"run={name}", "trainer=cpu").stdout


@pytest.mark.parametrize("launcher", ["processes", "basic"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_lets_its_job_save(tmp_path, number, launcher):
    """Ctrl-C is heard by the sweep and its job, kill by the sweep alone."""
    words = ("-m", "seed=0,1", "run=s", *SHORT, "recipe.epochs=500", f"hydra/launcher={launcher}")
    sweep = start(tmp_path, "train", *words)
    sweep.wait_for(lambda: "epoch 1/" in sweep.out.read_text())
    sweep.kill(number, group=number == signal.SIGINT)
    done = sweep.wait()
    assert done.returncode == 128 + number and "Traceback" not in done.stderr, done.stderr
    assert f"Stopped by {number.name}" in done.stdout and "not finished: 2" in done.stdout, done.stdout


def test_a_launcher_from_elsewhere(tmp_path):
    """joblib's, which runs jobs side by side in processes that it keeps."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ("-m", "seed=0,1", "run=side", *SHORT, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert "val top-1" in finished(tmp_path, "train", *words).stdout
    found = {path: path.read_text() for path in (tmp_path / "runs" / "side").glob("*/results.json")}
    assert len(found) == 2
    assert "val top-1" in finished(tmp_path, "train", *words).stdout  # again: nothing is left to do
    assert {path: path.read_text() for path in found} == found
    assert "recipe.warmup_epochs=9" in refused(tmp_path, "train", *words[:-2], "recipe.warmup_epochs=9")


@pytest.mark.proofs
def test_a_job_ends_with_its_sweep_and_equals_a_lone_run(tmp_path):
    words = [word for word in EVERYTHING if not word.startswith("trainer.checkpoint_steps")]
    both, folder = ("-m", "seed=0,1", "run=s", *words), tmp_path / "runs" / "s"
    sweep = start(tmp_path, "train", *both)
    sweep.wait_for(lambda: any("epoch 1/3" in log.read_text() for log in folder.glob("*/train.log")))
    job = children(sweep.pid)
    assert "in use by process" in refused(tmp_path, "train", *both)
    sweep.kill(group=False)
    sweep.wait()
    assert all(is_gone(pid) for pid in job)
    assert "Stopped by SIGTERM" in next(folder.glob("*/train.log")).read_text()
    finished(tmp_path, "train", *both)
    jobs = list(map(json.loads, (folder / "sweep.jsonl").read_text().splitlines()))
    assert [job["words"][0] for job in jobs] == ["seed=0", "seed=1"]
    finished(tmp_path, "train", *words, "run=lone")
    assert_same_run(tmp_path / "runs" / "lone", folder / jobs[0]["job"])
    assert rows(folder / jobs[1]["job"]) != rows(tmp_path / "runs" / "lone")


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def test_jobs_side_by_side_share_the_machine_and_stop_together(tmp_path):
    words = ("-m", "seed=0,1,2", "run=s", *SHORT, "recipe.epochs=6", "hydra.launcher.n_jobs=2", "trainer.devices=1")
    folder = tmp_path / "runs" / "s"
    sweep = start(tmp_path, "train", *words, CUDA_VISIBLE_DEVICES="4,7")
    sweep.wait_for(lambda: all("epoch 1/6" in read(folder / f"seed-{seed}" / "train.log") for seed in (0, 1)))
    jobs = children(sweep.pid)
    assert {environment_of(pid)["CUDA_VISIBLE_DEVICES"] for pid in jobs} == {"4", "7"}
    assert len({tuple(os.sched_getaffinity(pid)) for pid in jobs}) == min(2, os.cpu_count() or 1)
    sweep.kill(signal.SIGTERM, group=False)
    done = sweep.wait()
    assert done.returncode == 143 and done.stdout.count("begins") == 2 and all(map(is_gone, jobs)), done.stderr
    assert all("Stopped by SIGTERM" in read(folder / f"seed-{seed}" / "train.log") for seed in (0, 1))
    again = finished(tmp_path, "train", *words)
    assert "test top-1" in read(folder / "screens" / "seed-2.txt") and "test top-1  test loss" in again.stdout
    finished(tmp_path, "train", "seed=1", *SHORT, "recipe.epochs=6", "run=lone")
    assert_same_run(tmp_path / "runs" / "lone", folder / "seed-1")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_search_goes_on_after_its_driver_was_killed(tmp_path):
    """Its job saves its step; the same command waits for it, continues it and asks for the next."""
    words = ["-m", "hydra/sweeper=random", "recipe.lr=tag(log,interval(1e-3,0.1))", *SHORT, "recipe.epochs=6"]
    words += ["hydra.sweeper.trials=2", "run=s"]
    folder = tmp_path / "runs" / "s"
    search = start(tmp_path, "train", *words)
    search.wait_for(lambda: "epoch 1/6" in search.out.read_text())
    search.kill(group=False)
    search.wait()
    assert "test top-1  test loss" in finished(tmp_path, "train", *words).stdout
    events = [json.loads(line) for line in (folder / "sweep.jsonl").read_text().splitlines()]
    first, told, second, _ = events
    assert told == {"told": 1, "state": "finished"} and first["words"][:-1] == second["words"][:-1]
    assert "Stopped by SIGTERM" in read(folder / first["job"] / "train.log")
    assert "another run=NAME" in refused(tmp_path, "train", *words, "hydra.sweeper.seed=1")
    pruned = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.pruner=asha", "recipe.lr=0.1,0.2", *SHORT, "logger=none")
    assert "reads metrics.csv" in refused(tmp_path, "train", *pruned)
    assert "s is a search" in refused(tmp_path, "train", "-m", "recipe.lr=0.1,0.2", *SHORT, "run=s")
    finals = ("-m", "experiment=nasnet_finals", "finals_of=s", "k=1", "datamodule=digits", "run=f")
    assert "no finished job with arch.cells" in refused(tmp_path, "train", *finals)
    assert results(folder / second["job"])["epochs"] == 6
