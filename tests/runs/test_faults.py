"""Full disks, folders that cannot be written, files that cannot be read, killed workers, loggers that fail: a line
each, and nothing that was saved is lost."""

import contextlib
import os
import signal
import subprocess
import time

import pytest
from doors import finished, mistake, refused, results
from processes import children
from runs.pictures import write_folders
from runs.states import SHORT, rows, saved

from lineage.running.checkpoints import read


@pytest.mark.xdist_group("trained")
@pytest.mark.parametrize("small_disk", ["900k"], indirect=True)
def test_a_full_disk(tmp_path, small_disk, trained):
    words, whole = (*SHORT, f"runs={small_disk}", "trainer.checkpoint_steps=9"), trained / "runs" / "short"
    filler = small_disk / "filler"
    said = refused(tmp_path, "train", *words, "run=a")  # the second checkpoint has no room beside the first
    assert "last.ckpt cannot be written" in said and not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert "continues" in finished(tmp_path, "train", *words, "run=a").stdout
    assert rows(small_disk / "a") == rows(whole)
    assert results(small_disk / "a")["test_loss"] == results(whole)["test_loss"]

    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    assert "cannot be written" in refused(tmp_path, "train", *words, "run=b")
    filler.unlink()
    finished(tmp_path, "train", *words, "run=b")


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs a folder that nobody writes to")
def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("/proc/self/runs", tmp_path / "file"):
        assert str(folder) in refused(tmp_path, "train", *SHORT, f"runs={folder}")


FOLDERS = (
    "arch=resnet18", "arch.widths=[8,8,8,8]", "datamodule=imagenet", "datamodule.num_classes=2", "recipe=resnet",
    "recipe.train_res=32", "recipe.test_res=32", "recipe.batch_size=4", "recipe.epochs=50", "recipe.crop_scale=[36,64]",
    "trainer=cpu", "logger=csv", "datamodule.workers=1",
)  # fmt: skip


def test_a_bad_file_seen_in_a_worker(tmp_path):
    write_folders(tmp_path / "data")
    bad = tmp_path / "data" / "train" / "bee" / "1.jpeg"
    bad.write_bytes(bad.read_bytes()[:200])
    assert str(bad) in refused(tmp_path, "train", *FOLDERS, f"datamodule.root={tmp_path}/data")


def test_a_killed_worker(tmp_path):
    write_folders(tmp_path / "data", count=200)
    run = saved(tmp_path / "runs" / "a", 1, *FOLDERS, f"datamodule.root={tmp_path}/data")
    run.wait_for(lambda: bool(children(run.pid)))
    deadline = time.monotonic() + 60
    while run.process.exitcode is None and time.monotonic() < deadline:
        for child in children(run.pid):  # one that had nothing left to do is not missed
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.5)
    done = run.wait(60)  # torch raises where the signal finds it; where nothing can be raised, Python says so before
    assert done.returncode == 1 and "datamodule.workers=1" in done.stderr.splitlines()[-1], done.stderr


FAILING = """
from pytorch_lightning.loggers import TensorBoardLogger
class Fails(TensorBoardLogger):
    def log_metrics(self, metrics, step=None):
        raise OSError(28, "No space left on device")
"""


def test_a_logger_that_fails_does_not_end_the_run(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    words = (*SHORT, "run=a", "logger=[csv,tensorboard]", "logger.tensorboard._target_=failing.Fails")
    out = finished(tmp_path, "train", *words, PYTHONPATH=str(tmp_path)).stdout
    assert out.count("the run goes on") == 1 and len(rows(tmp_path / "runs" / "a")) == 2


def test_divergence_stops_at_once_and_keeps_the_last_checkpoint(tmp_path):
    words = [word for word in SHORT if "decay" not in word]
    folder = tmp_path / "runs" / "wild"
    assert "diverged" in refused(tmp_path, "train", *words, "run=wild", "recipe.lr=1e8", "trainer.checkpoint_steps=1")
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] <= 3
    assert "Traceback" in (folder / "train.log").read_text()


REFUSED = {
    "arch=alexnet arch.stem=imagenet": "AlexNet needs images of at least",
    "recipe.batch_size=33 trainer=ddp trainer.accelerator=cpu trainer.devices=2": "32 or 34",
    "datamodule=imagenet recipe=resnet": "datamodule.root=FOLDER",
    "arch=timm arch.model_name=resnt18": "resnet18",
    "trainer=gpu": "trainer",
    "datamodule.val_size=5000": "1,437 training images",
    "datamodule.num_classes=9": "10 classes",
    "arch=resnet18 arch.depths=[2,2]": "arch",
    "trainer.limit_val_batches=0 test_weights=best": "test_weights=best",
    "callbacks=learning_rate_monitor logger=none recipe.epochs=1 recipe.decay_epochs=[1]": "no logger",
}


@pytest.mark.parametrize(("words", "hint"), REFUSED.items())
def test_what_cannot_be_built_is_refused_and_takes_no_name(tmp_path, words, hint):
    assert hint in mistake(tmp_path, "train", *words.split(), "run=refused")
    assert not (tmp_path / "runs").exists() or words.startswith("callbacks")  # which speaks as training begins


def test_epochs_that_are_validated(tmp_path):
    """None, every second one and the last, wherever the run ends."""
    early = ("recipe.epochs=3", "callbacks=early_stopping", "callbacks.early_stopping.monitor=train_loss")
    validated = {"0": [False] * 3, "1": [True] * 3, "2": [False, True, False]}
    for every, expected in validated.items():
        rate = "trainer.limit_val_batches=0" if every == "0" else f"trainer.check_val_every_n_epoch={every}"
        finished(tmp_path, "train", *SHORT, *early, "callbacks.early_stopping.mode=min", rate, f"run={every}")
        assert [bool(row["val_top1"]) for row in rows(tmp_path / "runs" / every)] == expected
    none, each, second = (results(tmp_path / "runs" / every) for every in validated)
    assert "val_top1" not in none and none["test_loss"] == each["test_loss"] == second["test_loss"]
    assert each["val_loss"] == second["val_loss"]
