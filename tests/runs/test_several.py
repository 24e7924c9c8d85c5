"""Several processes: the ranks of a run, two commands of one name, sweeps and their launchers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from doors import ROOT, command, error_message, finished, refused, results, start
from processes import children, is_gone
from runs.states import EVERYTHING, PAIR, SHORT, assert_same_run, rows, saved

from lineage.running.checkpoints import read

LONG = (*SHORT, *PAIR, "recipe.epochs=500", "trainer.checkpoint_steps=1")


def other_rank(pid: int) -> int:
    def is_rank(child: int) -> bool:
        try:
            return b"LOCAL_RANK=1" in Path(f"/proc/{child}/environ").read_bytes()
        except OSError:
            return False

    return next(child for child in children(pid) if is_rank(child))


@pytest.fixture(params=[60])
def pair(tmp_path, request):
    """A run of two ranks that has begun to save, and the other rank's process; the parameter is trainer.timeout_s."""
    run = saved(tmp_path / "runs" / "pair", 2, *LONG, f"trainer.timeout_s={request.param}")
    other = other_rank(run.pid)
    yield run, other
    for pid in (run.pid, other):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["group", "first", "other"])
def test_two_ranks_told_to_stop(tmp_path, pair, whom):
    run, other = pair
    if whom == "group":
        run.kill(signal.SIGTERM)
    else:
        os.kill(run.pid if whom == "first" else other, signal.SIGTERM)
    done = run.wait(timeout=40)
    assert done.returncode == 128 + signal.SIGTERM and "saved" in done.stdout, done.stderr
    assert is_gone(other) and "Traceback" not in done.stderr
    step = read(tmp_path / "runs" / "pair" / "checkpoints" / "last.ckpt")["global_step"]
    assert f"at step {step}" in done.stdout


def test_a_rank_that_is_killed(pair):
    run, other = pair
    os.kill(other, signal.SIGKILL)
    assert "Rank 1 has died (signal 9)" in error_message(run.wait(timeout=40))


@pytest.mark.proofs
@pytest.mark.parametrize("pair", [25], indirect=True)
def test_a_rank_that_does_not_answer(pair):
    run, other = pair
    os.kill(other, signal.SIGSTOP)
    assert "rank 1 of 2 does not answer" in error_message(run.wait(timeout=90)) and is_gone(other)


def test_the_first_rank_is_killed(pair):
    run, other = pair
    run.kill(group=False)
    run.wait()
    assert is_gone(other)


def test_the_first_rank_is_killed_while_the_other_starts(tmp_path):
    run = start(tmp_path, "train", *LONG)
    run.wait_for(lambda: bool(children(run.pid)))
    other = children(run.pid)[0]
    run.kill(group=False)  # the other may not have read a line of this project yet
    run.wait()
    assert is_gone(other, 60)


def test_nodes_that_do_not_come(tmp_path):
    done = command(tmp_path, "train", *SHORT, *PAIR, "trainer.num_nodes=2", "trainer.timeout_s=3")
    assert done.returncode == 1 and "Waiting at 127.0.0.1:" in done.stderr and "num_nodes=2" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 4, done.stderr


def test_two_processes_take_the_steps_of_one_with_two_micro_batches(tmp_path):
    words = (*SHORT, "recipe.drop_last=false", "recipe.device_batch=64")
    finished(tmp_path, "train", *words, "run=one")
    two = finished(tmp_path, "train", *words, *PAIR, "run=two")
    assert "64 per device x 1 accumulated x 2 devices = 128" in two.stdout and two.stderr == ""
    states = [read(tmp_path / "runs" / name / "checkpoints" / "last.ckpt") for name in ("one", "two")]
    for key, value in states[0]["state_dict"].items():
        torch.testing.assert_close(value, states[1]["state_dict"][key], rtol=1e-4, atol=1e-5)
    lines = [line.split() for line in finished(tmp_path, "evaluate", "run=one", *PAIR).stdout.splitlines()]
    found = {line[0]: float(line[1]) for line in lines if line and line[0].startswith("test_")}
    expected = {key: value for key, value in results(tmp_path / "runs" / "one").items() if key in found}
    assert found == pytest.approx(expected, abs=1e-6) and {"test_top1", "test_top5", "test_loss"} <= found.keys()


# ---- one name, two commands


def test_a_run_is_one_commands(tmp_path):
    words = (*SHORT, "recipe.epochs=500", "run=a")
    run = saved(tmp_path / "runs" / "a", 1, *words)
    assert f"in use by process {run.pid}" in refused(tmp_path, "train", *words)
    run.kill()
    run.wait()
    done = command(tmp_path, "train", *words, "trainer.max_time=1")  # a stale lock
    assert done.returncode == 124, done.stderr


# ---- sweeps

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_lets_its_job_save(tmp_path, number):
    """Ctrl-C is heard by the sweep and its job, kill by the sweep alone."""
    sweep = start(tmp_path, "train", "-m", "seed=0,1", "run=s", *SHORT, "recipe.epochs=500")
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
    jobs = json.loads((folder / "sweep.jsonl").read_text())
    assert [job["words"][0] for job in jobs] == ["seed=0", "seed=1"]
    finished(tmp_path, "train", *words, "run=lone")
    assert_same_run(tmp_path / "runs" / "lone", folder / jobs[0]["job"])
    assert rows(folder / jobs[1]["job"]) != rows(tmp_path / "runs" / "lone")


@pytest.mark.proofs
def test_torchrun(tmp_path):
    torchrun = "-m torch.distributed.run --nproc-per-node=2 --master-port=29777".split()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, *torchrun, str(ROOT / "train.py"), *SHORT, *PAIR, *words]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = run("run=t")
    assert done.returncode == 0 and "2 x CPU" in done.stdout, done.stderr
    done = run()
    assert done.returncode != 0 and "run=NAME" in done.stderr
