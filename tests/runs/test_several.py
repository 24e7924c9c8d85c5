"""Several processes: the ranks of a run, two commands of one name, sweeps and their launchers."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from doors import command, results, start
from runs.states import EVERYTHING, PAIR, SHORT, assert_same_run, rows, saves

from lineage.running.checkpoints import read

LONG = (*SHORT, *PAIR, "recipe.epochs=500", "run=pair", "trainer.checkpoint_steps=1")


def children(pid: int) -> list[int]:
    """Processes that were started by a process, by the system's table."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def other_rank(pid: int) -> int:
    def is_rank(child: int) -> bool:
        try:
            return b"LOCAL_RANK=1" in Path(f"/proc/{child}/environ").read_bytes()
        except OSError:
            return False

    return next(child for child in children(pid) if is_rank(child))


def is_gone(pid: int, within: float = 20) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(params=[60])
def pair(tmp_path, request):
    """A run of two ranks that has begun to save, and the other rank's process; the parameter is trainer.timeout_s."""
    run = start(tmp_path, "train", *LONG, f"trainer.timeout_s={request.param}")
    written = saves(tmp_path / "runs" / "pair")
    run.wait_for(lambda: written() >= 2)
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
    done = run.wait(timeout=40)
    assert done.returncode == 1 and "Rank 1 has died (signal 9)" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr


@pytest.mark.proofs
@pytest.mark.parametrize("pair", [25], indirect=True)
def test_a_rank_that_does_not_answer(pair):
    run, other = pair
    os.kill(other, signal.SIGSTOP)
    done = run.wait(timeout=90)
    assert done.returncode == 1 and "rank 1 of 2 does not answer" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2 and is_gone(other), done.stderr


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
    words = (*SHORT, "recipe.drop_last=false")
    one = command(tmp_path, "train", *words, "run=one", "trainer.max_per_device=64")
    two = command(tmp_path, "train", *words, *PAIR, "run=two")
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert "64 per device x 1 accumulated x 2 devices = 128" in two.stdout and two.stderr == ""
    states = [read(tmp_path / "runs" / name / "checkpoints" / "last.ckpt") for name in ("one", "two")]
    for key, value in states[0]["state_dict"].items():
        torch.testing.assert_close(value, states[1]["state_dict"][key], rtol=1e-4, atol=1e-5)
    evaluated = command(tmp_path, "evaluate", "run=one", *PAIR)
    expected = results(tmp_path / "runs" / "one")
    assert evaluated.returncode == 0, evaluated.stderr
    for name in ("test_top1", "test_top5", "test_loss"):
        found = next(float(line.split()[1]) for line in evaluated.stdout.splitlines() if line.startswith(name))
        assert found == pytest.approx(expected[name], abs=1e-6)


# ---- one name, two commands


def test_a_run_is_one_commands(tmp_path):
    run = start(tmp_path, "train", *SHORT, "recipe.epochs=500", "run=a")
    written = saves(tmp_path / "runs" / "a")
    run.wait_for(lambda: written() >= 1)
    done = command(tmp_path, "train", *SHORT, "recipe.epochs=500", "run=a")
    assert done.returncode == 1 and f"in use by process {run.pid}" in done.stderr, done.stderr
    run.kill()
    run.wait()
    done = command(tmp_path, "train", *SHORT, "recipe.epochs=500", "trainer.max_time=1", "run=a")  # a stale lock
    assert done.returncode == 124, done.stderr


def test_a_mistyped_command_takes_no_name(tmp_path):
    for words in (("datamodule=imagenet",), ("arch=alexnet", "arch.stem=imagenet"), ("datamodule.val_size=5000",)):
        done = command(tmp_path, "train", *words, "run=a")
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) <= 2
    assert not list(tmp_path.iterdir())


# ---- sweeps

GRID = ("-m", "recipe.lr=0.05,1e8", "run=grid", *SHORT)


@pytest.mark.parametrize("launcher", ["processes", pytest.param("basic", marks=pytest.mark.proofs)])
def test_a_sweep_ranks_its_jobs_names_the_failed_and_runs_only_what_is_missing(tmp_path, launcher):
    done = command(tmp_path, "train", *GRID, f"hydra/launcher={launcher}")
    assert done.returncode == 1 and "failed: 2" in done.stdout and "val top-1" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    finished = [path.parent for path in (tmp_path / "runs" / "grid").glob("*/results.json")]
    assert len(finished) == 1 and "recipe.lr-0.05" in finished[0].name
    stamp = (finished[0] / "results.json").stat().st_mtime_ns
    again = command(tmp_path, "train", *GRID)
    assert again.returncode == 1 and "finished before" in again.stdout
    assert (finished[0] / "results.json").stat().st_mtime_ns == stamp
    for name in ("grid/1", f"grid/{finished[0].name[:-3]}", "grid/lr-0.05"):  # number, beginning, a word of it
        evaluated = command(tmp_path, "evaluate", f"run={name}", "trainer=cpu")
        assert evaluated.returncode == 0 and "test_top1" in evaluated.stdout, evaluated.stderr


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
    done = command(tmp_path, "train", *words)
    assert done.returncode == 0 and "val top-1" in done.stdout, done.stderr
    found = {path: path.read_text() for path in (tmp_path / "runs" / "side").glob("*/results.json")}
    assert len(found) == 2
    done = command(tmp_path, "train", *words)  # again: nothing is left to do
    assert done.returncode == 0 and "val top-1" in done.stdout, done.stderr
    assert {path: path.read_text() for path in found} == found
    done = command(tmp_path, "train", *words[:-2], "recipe.warmup_epochs=9")
    assert done.returncode == 1 and "recipe.warmup_epochs=9" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.proofs
def test_a_job_ends_with_its_sweep_and_equals_a_lone_run(tmp_path):
    words = [word for word in EVERYTHING if not word.startswith("trainer.checkpoint_steps")]
    sweep = start(tmp_path, "train", "-m", "seed=0,1", "run=s", *words)
    folder = tmp_path / "runs" / "s"
    sweep.wait_for(lambda: any("epoch 1/3" in log.read_text() for log in folder.glob("*/train.log")))
    job = children(sweep.pid)
    done = command(tmp_path, "train", "-m", "seed=0,1", "run=s", *words)
    assert done.returncode == 1 and "in use by process" in done.stderr, done.stderr
    sweep.kill(group=False)
    sweep.wait()
    assert all(is_gone(pid) for pid in job)
    log = next(folder.glob("*/train.log")).read_text()
    assert "Stopped by SIGTERM" in log
    done = command(tmp_path, "train", "-m", "seed=0,1", "run=s", *words)
    assert done.returncode == 0, done.stderr
    jobs = json.loads((folder / "sweep.json").read_text())
    assert [job["words"][0] for job in jobs] == ["seed=0", "seed=1"]
    lone = command(tmp_path, "train", *words, "run=lone")
    assert lone.returncode == 0, lone.stderr
    assert_same_run(tmp_path / "runs" / "lone", folder / jobs[0]["job"])
    assert rows(folder / jobs[1]["job"]) != rows(tmp_path / "runs" / "lone")


@pytest.mark.proofs
def test_torchrun(tmp_path):
    import sys

    from doors import ROOT

    words = [*SHORT, *PAIR, "run=t"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29777"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, str(ROOT / "train"), *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "2 x CPU" in done.stdout, done.stderr
    unnamed = [word for word in words if not word.startswith("run=")]
    done = subprocess.run(
        [*torchrun, str(ROOT / "train"), *unnamed], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0 and "run=NAME" in done.stderr
