"""A run that was stopped in any way ends as if it had not been: every tensor, every row, every result."""

import shutil
import signal

import pytest
import torch
from doors import Command, command, finished, mistake, refused, results, start
from runs.states import EVERYTHING, PAIR, SHORT, assert_same_run, assert_same_state, kill_once_saved, rows, saved

from lineage.running.checkpoints import read

pytestmark = pytest.mark.xdist_group("trained")  # one worker, one fixture


@pytest.fixture(scope="module")
def whole(trained):
    """A run of everything that was not stopped."""
    return trained / "runs" / "whole"


@pytest.fixture
def short(trained, tmp_path):
    """A finished run that the test may damage."""
    return shutil.copytree(trained / "runs" / "short", tmp_path / "runs" / "short")


def test_a_run_leaves_what_it_should(whole):
    assert {path.name for path in whole.iterdir()} - {"evaluations"} == {
        "config.yaml", "overrides.yaml", "train.log", "metrics.csv", "steps.csv", "checkpoints", "results.json"
    }  # fmt: skip
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    found = results(whole)
    assert found["steps"] == 15 and found["epochs"] == 3 and found["devices"] == 1 and found["seed"] == 0
    assert 0 <= found["test_top1"] <= found["test_top5"] <= 1 and found["peak_memory_bytes"] > 100e6
    assert any("mirror" in note for note in found["notes"])
    epochs, steps = [row for row in rows(whole) if row.get("epoch")], [row for row in rows(whole) if "epoch" not in row]
    assert [row["epoch"] for row in epochs] == ["1", "2", "3"] and float(epochs[2]["test_top1"]) == found["test_top1"]
    assert all(all(row.values()) for row in steps) and [row["step"] for row in steps] == "2 4 6 8 10 12 14".split()
    accuracies = [float(row["val_top1"]) for row in epochs]
    assert found["best_val_top1"] == max(accuracies) == accuracies[found["best_epoch"] - 1]
    saved = read(whole / "checkpoints" / "last.ckpt")
    (clock,) = [state for state in saved["callbacks"].values() if "training_seconds" in state]
    assert saved["global_step"] == 15 and clock["images"] == 15 * 64
    assert found["images_per_second"] == pytest.approx(clock["images"] / clock["training_seconds"])
    assert clock["training_seconds"] < clock["seconds"] <= found["seconds"]


def test_killed_without_warning(tmp_path, whole):
    for count in (2, 4):  # in the middle of the first epoch; then of the second
        kill_once_saved(tmp_path / "runs" / "b", count, *EVERYTHING)
    done = finished(tmp_path, "train", *EVERYTHING, "run=b", "datamodule.workers=0")  # nor do workers matter
    assert "continues" in done.stdout
    assert_same_run(whole, tmp_path / "runs" / "b")


def wait_for_epoch(run, log, epoch: int) -> None:
    run.wait_for(lambda: log.exists() and f"epoch {epoch}/3" in log.read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(tmp_path, whole, number):
    words, folder = (*EVERYTHING, "trainer.checkpoint_steps=0", "run=b"), tmp_path / "runs" / "b"
    run = start(tmp_path, "train", *words)
    wait_for_epoch(run, folder / "train.log", 1)
    run.kill(number)
    done = run.wait()
    assert done.returncode == 128 + number and done.stderr.startswith("Stops" if number == signal.SIGINT else "")
    step = read(folder / "checkpoints" / "last.ckpt")["global_step"]
    said = f"Stopped by {signal.Signals(number).name} at step {step}, saved. The same command with run=b continues it."
    assert said in done.stdout and 5 <= step < 15
    assert f"at step {step}, from last.ckpt" in finished(tmp_path, "train", *words).stdout
    assert_same_run(whole, folder)


def test_requeued_by_slurm(tmp_path, whole):
    """A signal in a job of SLURM: one kind of checkpoint, the job is queued again, the test takes the right weights."""
    (tmp_path / "bin").mkdir()
    scontrol, folder = tmp_path / "bin" / "scontrol", tmp_path / "runs" / "b"
    scontrol.write_text(f"#!/bin/sh\necho $* > {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    job = {
        "SLURM_JOB_ID": "42", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "localhost", "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
    }  # fmt: skip

    def opened() -> Command:
        run = start(tmp_path, "train", *EVERYTHING, "run=b", **job)
        run.wait_for((folder / ".lock").exists)  # before the first step
        return run

    for begin, number in ((opened, signal.SIGUSR2), (lambda: saved(folder, 3, *EVERYTHING, **job), signal.SIGUSR1)):
        run = begin()
        run.kill(number, group=False)
        done = run.wait()
        assert done.returncode == 128 + number and "Requeued job 42." in done.stdout + done.stderr, done.stderr
        assert (tmp_path / "asked").read_text().split() == ["requeue", "42"] and not list(folder.rglob("hpc*"))
        (tmp_path / "asked").unlink()
    finished(tmp_path, "train", *EVERYTHING, "run=b", **job)
    assert_same_run(whole, folder)


def test_killed_after_the_last_epoch(tmp_path, whole):
    """Nothing is left but the test; results.json has every key all the same."""
    folder = shutil.copytree(whole, tmp_path / "runs" / "b")
    (folder / "results.json").unlink()
    finished(tmp_path, "train", *EVERYTHING, "run=b")
    assert_same_run(whole, folder)


@pytest.mark.proofs
def test_a_pair_killed(tmp_path):
    """Each of two processes has its own BN statistics within an epoch, and gets its own back."""
    words = (*EVERYTHING, *PAIR, "datamodule.workers=0")
    finished(tmp_path, "train", *words, "run=whole")
    kill_once_saved(tmp_path / "runs" / "killed", 3, *words)
    assert "continues" in finished(tmp_path, "train", *words, "run=killed").stdout
    assert_same_run(tmp_path / "runs" / "whole", tmp_path / "runs" / "killed")


def test_damaged_checkpoints(tmp_path):
    """Cut short or of another program: the one before; if there is none, a line."""
    words, folder = (*SHORT, "run=cut", "trainer.checkpoint_steps=4"), tmp_path / "runs" / "cut"
    finished(tmp_path, "train", *words)
    last, previous = (folder / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt"))
    content, before = last.read_bytes(), results(folder)
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    other = (tmp_path / "other.ckpt").read_bytes()
    for damage in (content[: len(content) // 2], other):
        (folder / "results.json").unlink()
        last.unlink()  # not the other name of previous.ckpt
        last.write_bytes(damage)
        out = finished(tmp_path, "train", *words).stdout
        assert "last.ckpt is damaged" in out and "previous.ckpt" in out
        assert results(folder)["test_loss"] == before["test_loss"]
    for file in (last, previous):
        file.unlink()
        file.write_bytes(b"PK")
    (folder / "results.json").unlink()
    assert "damaged" in refused(tmp_path, "train", *words)


def test_a_run_of_seconds_saves_at_its_end(tmp_path):
    """best.ckpt is of the first epoch, the rate being too high in the others, whether that was saved at once or not."""
    rates = ("recipe.schedule=list", "recipe.lrs=[0.02,1,2]", "recipe.decay_epochs=[1,2]", "recipe.decay_rate=0")
    words = (*SHORT, *rates, "recipe.epochs=3", "test_weights=best", "arch=resnet_cifar", "arch.depth=8")
    words += ("datamodule.val_size=1000", "recipe.batch_size=64")
    end, each, stopped = (tmp_path / "runs" / name for name in ("end", "each", "stopped"))
    finished(tmp_path, "train", *words, "run=end")
    finished(tmp_path, "train", *words, "run=each", "trainer.checkpoint_steps=1")
    run = start(tmp_path, "train", *words, "run=stopped")
    wait_for_epoch(run, stopped / "train.log", 1)
    run.kill(signal.SIGTERM)
    assert run.wait().returncode == 128 + signal.SIGTERM
    assert "continues" in finished(tmp_path, "train", *words, "run=stopped").stdout
    assert not (end / "checkpoints" / "previous.ckpt").exists()
    assert read(end / "checkpoints" / "best.ckpt")["global_step"] == 6
    of_best, *_, of_last = (float(row["val_loss"]) for row in rows(end) if row.get("val_loss"))
    tested = results(end)["test_loss"]
    assert abs(tested - of_best) < abs(tested - of_last)
    for folder in (each, stopped):
        assert_same_run(end, folder)


def test_a_finished_run_is_trained_longer(tmp_path, short):
    """With rates that do not depend on the length it is the run that was longer from the first, also after a kill."""
    words = (*SHORT, "recipe.epochs=4")
    finished(tmp_path, "train", *words, "run=straight")
    assert (
        "To train it longer, say recipe.epochs= more than 2" in finished(tmp_path, "train", *SHORT, "run=short").stdout
    )
    kill_once_saved(short, 2, *words, "trainer.checkpoint_steps=1")  # the first is that of the shorter run
    assert not (short / "results.json").exists()
    finished(tmp_path, "train", *words, "run=short")
    assert_same_state(tmp_path / "runs" / "straight", short, but="['notes']")
    straight, longer = results(tmp_path / "runs" / "straight"), results(short)
    assert all(straight[name] == longer[name] for name in ("test_top1", "test_loss", "epochs", "steps"))
    assert any("recipe.epochs was 2 up to step" in note for note in longer["notes"])
    assert "recipe.epochs=4" in refused(tmp_path, "train", *words, "run=short", "recipe.epochs=3")


def test_another_run_under_its_name(tmp_path, short):
    words = (*SHORT, "run=short")
    assert "is finished" in finished(tmp_path, "train", *words).stdout
    assert "recipe.lr=0.5" in mistake(tmp_path, "train", *words, "recipe.lr=0.5")
    (short / "results.json").write_text((short / "results.json").read_text()[:40])
    assert "results.json is damaged" in mistake(tmp_path, "train", *words)
    (short / "results.json").unlink()
    config = (short / "config.yaml").read_text()
    for damage in (config[:100], "\0\1\2", None):
        (short / "config.yaml").unlink()
        if damage is not None:
            (short / "config.yaml").write_text(damage)
        assert "config.yaml" in mistake(tmp_path, "train", *words, "recipe.lr=0.5")
    (short / "config.yaml").write_text(config)
    half = [short / "checkpoints" / "last.ckpt.part", short / "metrics.csv.part"]
    for path in half:
        path.write_bytes(b"PK")
    (short / "metrics.csv").write_bytes(b"\xff\xfe\0")  # it is made again
    finished(tmp_path, "train", *words)
    assert len(rows(short)) == 1 and not any(path.exists() for path in half)


def test_a_run_that_goes_on_listens_to_the_command(tmp_path):
    words = (
        *SHORT, "recipe.epochs=6", "callbacks=[early_stopping,learning_rate_monitor]", "recipe.lr=1e-9", "run=a",
        "callbacks.learning_rate_monitor.logging_interval=epoch", "recipe.warmup_epochs=2", "recipe.warmup_lr=1e-10",
        "recipe.decay_epochs=[5]",
    )  # fmt: skip
    folder = tmp_path / "runs" / "a"
    finished(tmp_path, "train", *words, "trainer.max_epochs=2", "callbacks.early_stopping.patience=3")
    (folder / "results.json").unlink()
    assert "trainer.max_epochs=1: they have" in refused(tmp_path, "train", *words, "trainer.max_epochs=1")
    finished(tmp_path, "train", *words, "callbacks.early_stopping.patience=4")
    assert results(folder)["epochs"] == 5
    rates = [float(row["lr-SGD"]) for row in rows(folder) if row.get("lr-SGD")]  # of the epoch that begins, once
    assert rates == pytest.approx([1e-10, 5.5e-10, 1e-9, 1e-9, 1e-9])
    before = rows(folder)
    (folder / "results.json").unlink()
    finished(tmp_path, "train", *words, "callbacks.early_stopping.patience=4")  # stays stopped
    assert results(folder)["epochs"] == 5 and rows(folder) == before


def test_weights_that_a_run_started_from_may_go(tmp_path, short):
    (short / "checkpoints" / "last.ckpt").rename(tmp_path / "w.ckpt")
    words = (*SHORT, "pretrained=w.ckpt", "freeze=stem")
    finished(tmp_path, "train", *words, "run=whole")
    assert command(tmp_path, "train", *words, "run=a", "trainer.max_time=00:00:00:00").returncode == 124
    (tmp_path / "w.ckpt").unlink()
    finished(tmp_path, "train", *words, "run=a")
    assert_same_run(tmp_path / "runs" / "whole", tmp_path / "runs" / "a")
    assert "no such file is here" in refused(tmp_path, "train", *words, "run=b")
