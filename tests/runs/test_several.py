"""Several processes: the ranks of a run, two commands of one name, sweeps and their launchers."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from doors import ROOT, command, error_message, finished, refused, results, start
from processes import children, is_gone
from runs.states import PAIR, SHORT, saved

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
    done = run.wait(timeout=40)
    assert done.returncode == 128 + signal.SIGKILL and "Rank 1 has died (signal 9)" in done.stderr


@pytest.mark.proofs
@pytest.mark.parametrize("pair", [25], indirect=True)
def test_a_rank_that_does_not_answer(pair):
    run, other = pair
    os.kill(other, signal.SIGSTOP)
    assert "Another rank of 2 does not answer" in error_message(run.wait(timeout=90)) and is_gone(other)


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
    words = (*SHORT, *PAIR, "trainer.num_nodes=2")
    waiting = start(tmp_path, "train", *words)  # within C, where Python handles no signal
    waiting.wait_for(lambda: "Waiting at" in waiting.err.read_text())
    time.sleep(1)
    waiting.kill(signal.SIGTERM, group=False)
    assert waiting.wait(30).returncode == 128 + signal.SIGTERM
    done = command(tmp_path, "train", *words, "trainer.timeout_s=3")
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
