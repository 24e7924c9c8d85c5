"""What a user meets between two commands: names in files, another folder, a corrected command, a closed terminal."""

import gc
import os
import signal
import subprocess
import sys

import pytest
import yaml
from doors import ROOT, command, finished, results, start
from runs.pictures import write_folders

import lineage

SHORT = "trainer=debug logger=none".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs in this process, on a folder of images that is named relative to the working directory."""
    place = tmp_path_factory.mktemp("commands")
    write_folders(place / "pictures", count=4)
    data = "datamodule=imagefolder datamodule.root=pictures recipe.train_res=32 recipe.test_res=32"
    data += " arch=resnet_cifar arch.depth=8 recipe=pytorch recipe.batch_size=4"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("lineage.doors.train.follow_parent", lambda: None)
        for name in ("a", "b"):
            returned = lineage.train(*data.split(), *SHORT, "logger=[csv,tensorboard]", f"run={name}")
            assert returned == results(place / "runs" / name)
            gc.collect()
            (place / name).write_text(str(len(os.listdir("/proc/self/fd"))))
    return place


def test_a_run_in_this_process(folder):
    """It leaves no file open, and says what it found in the folder."""
    assert (folder / "a").read_text() == (folder / "b").read_text()
    assert any("2 classes" in note for note in results(folder / "runs" / "a")["notes"])
    assert "LINEAGE_RUN" not in os.environ


def test_files_name_the_choices(folder):
    config = yaml.safe_load((folder / "runs" / "a" / "config.yaml").read_text())
    expected = {"arch": "resnet_cifar", "datamodule": "imagefolder", "recipe": "pytorch", "trainer": "debug"}
    assert config["choices"] == expected
    assert config["datamodule"]["root"] == str(folder / "pictures")


def test_an_evaluation_from_another_folder(folder, tmp_path):
    said = finished(tmp_path, "evaluate", "run=a", f"runs={folder / 'runs'}", "split=val", "trainer=debug").stdout
    assert "val_top1" in said and "test_top1" not in said


def test_a_run_that_saved_nothing_keeps_no_name(tmp_path):
    failed = command(tmp_path, "train", *SHORT, "recipe.lr=1e8", "run=a", "trainer.limit_train_batches=8")
    assert failed.returncode == 1 and "diverged" in failed.stderr, failed.stderr
    finished(tmp_path, "train", *SHORT, "run=a")
    assert results(tmp_path / "runs" / "a")["steps"] == 3


def test_a_closed_terminal(tmp_path):
    """SIGHUP saves and stops a run; under nohup the run goes on."""
    words = "trainer=cpu logger=none recipe.epochs=2 recipe.decay_epochs=[1] trainer.checkpoint_steps=1 run=a".split()
    saved = (tmp_path / "runs" / "a" / "checkpoints" / "last.ckpt").exists
    running = start(tmp_path, "train", *words)
    running.wait_for(saved)
    running.kill(signal.SIGHUP, group=False)
    assert running.wait().returncode == 128 + signal.SIGHUP
    line = ["nohup", sys.executable, str(ROOT / "train.py"), *words]
    again = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert again.stdout is not None and any("continues" in row for row in again.stdout)
    again.send_signal(signal.SIGHUP)
    again.communicate()
    assert again.returncode == 0 and results(tmp_path / "runs" / "a")["epochs"] == 2


@pytest.mark.parametrize("stdout", ["/dev/full", "closed"])
def test_standard_output_may_be_gone(tmp_path, stdout):
    """Nobody reads what the run prints: it ends as ever."""
    line = f"{sys.executable} {ROOT / 'train.py'} {' '.join(SHORT)} run=a " + (
        ">&-" if stdout == "closed" else f"> {stdout}"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stderr.splitlines()[1:] == [], done.stderr  # "loading torch" alone
    assert results(tmp_path / "runs" / "a")["steps"] == 3
