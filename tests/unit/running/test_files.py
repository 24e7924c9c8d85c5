"""Files that come from elsewhere are data; files that are written are whole, or not there; streams may be gone."""

import errno
import json
import os
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from lineage import files
from lineage.errors import UserError
from lineage.renames import current_name, rename
from lineage.running import checkpoints, directory
from lineage.streams import Stream

GOOD = {"arch": {"_target_": "archs.lenet.LeNet5"}, "datamodule": {"_target_": "datamodules.folders.ImageFolder"}}
GOOD |= {"recipe": {"lr": 1e-3}, "seed": 0}


def test_a_config_of_an_older_version(tmp_path):
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(GOOD)))
    config = directory.read_config(tmp_path / "config.yaml")
    assert config.arch._target_ == "lineage.archs.lenet.LeNet5" and config.recipe.lr == 1e-3
    assert config.datamodule._target_ == "lineage.datamodules.sets.imagefolder.ImageFolder"


@pytest.mark.parametrize("name", ["lineage.archs.lenet.LeNet5", "archs.mine.Mine", "mypkg.net.Net", "torch.nn.Linear"])
def test_other_names_stay(name):
    assert current_name(name) == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"_target_": "archs.airbench.Airbench", "whiten_bias_share": 0.3}, {"variant": 2024}),
        ({"_target_": "archs.nasnet.NASNet", "features": 1056}, {"filters": 44}),
    ],
)
def test_arguments_of_version_0_1(old, new):
    rename(old)
    assert old == {"_target_": old["_target_"], **new} and old["_target_"].startswith("lineage.archs.")


BOMB = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump(GOOD) + "root: ${oc.env:HOME}\n",
        yaml.safe_dump({**GOOD, "recipe": {"lrs": [1, "${oc.env:HOME}"]}}),
        yaml.safe_dump(GOOD) + BOMB,
        "arch: " + "[" * 100_000,
        "arch: [",
        "x" * (17 * 2**20),
    ],
)
def test_a_config_that_is_no_data(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml is damaged") as error:
        directory.read_config(tmp_path / "config.yaml")
    assert os.environ["HOME"] + "\n" not in str(error.value) and len(str(error.value)) < 400


def test_json_that_is_no_data(tmp_path):
    (tmp_path / "results.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="damaged"):
        directory.load_results(tmp_path)


@pytest.mark.parametrize("place", ["train.log", "config.yaml.part", "checkpoints", "tensorboard/events"])
def test_a_planted_link_is_not_followed(tmp_path, place):
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.write_text("precious")
    (run / place).parent.mkdir(parents=True)
    (run / place).symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link"):
        files.Lock(run).acquire()
    files.write_whole(run / "config.yaml", "new")  # though nobody looked
    assert elsewhere.read_text() == "precious"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys, code):
    monkeypatch.setattr("fcntl.flock", mock.Mock(side_effect=OSError(code, os.strerror(code))))
    lock = files.Lock(tmp_path / "run")
    lock.acquire()
    lock.release()
    assert capsys.readouterr().err.count("has no locks") == 1 and not files.is_in_use(tmp_path / "run")


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("os.fsync", lambda file: calls.append(file))
    files.write_whole(tmp_path / "a.json", "old")
    assert len(calls) == 1
    with pytest.raises(ZeroDivisionError), files.replacing(tmp_path / "a.json", "w") as file:
        file.write("half")
        1 / 0  # noqa: B018
    assert (tmp_path / "a.json").read_text() == "old" and os.listdir(tmp_path) == ["a.json"]
    name = os.fsdecode(b"b\xc3\xa4 \xff")
    files.write_whole(tmp_path / "names", name)
    assert files.read_text(tmp_path / "names") == name


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "denied"), OSError(errno.ESTALE, "stale"), MemoryError()]
)
def test_what_cannot_be_read_is_not_damaged(tmp_path, monkeypatch, error):
    """last.ckpt is healthy: the run ends, and the older checkpoint does not take its place."""
    state = {"state_dict": {}, "optimizer_states": [], "global_step": 7, "loops": {}, "callbacks": {}}
    for name, step in (("last.ckpt", 7), ("previous.ckpt", 3)):
        torch.save({**state, "global_step": step}, tmp_path / name)
    assert checkpoints.to_continue(tmp_path).step == 7
    whole = torch.load

    def load(path, **options):
        if path.name == "last.ckpt":
            raise error
        return whole(path, **options)

    monkeypatch.setattr("torch.load", load)
    with pytest.raises(UserError, match="cannot be read") as raised:
        checkpoints.to_continue(tmp_path)
    assert not isinstance(raised.value, checkpoints.CheckpointError)
    monkeypatch.undo()
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04cut short")
    assert checkpoints.to_continue(tmp_path).step == 3


def test_a_run_that_goes_on_knows_from_whose_weights_it_started(tmp_path):
    said = ["starts from the weights of mine.pt"]
    state: dict[str, Any] = {"state_dict": {}, "optimizer_states": [], "loops": {}, "global_step": 3, "callbacks": {}}
    module: Any = SimpleNamespace(network=SimpleNamespace(notes=said))
    trainer: Any = SimpleNamespace(datamodule=None)
    checkpoints.Checkpoints(tmp_path, minutes=0, steps=0, facts={}).on_save_checkpoint(trainer, module, state)
    torch.save(state, tmp_path / checkpoints.LAST)
    assert checkpoints.to_continue(tmp_path).notes == said


@pytest.mark.parametrize(("metric", "best"), [("val_top1", [1, 1, 3, 3]), ("val_loss", [1, 2, 2, 4]), ("own", [1] * 4)])
def test_the_best_epoch_has_the_highest_metric_or_the_lowest_loss(tmp_path, metric, best):
    saving, found = checkpoints.Checkpoints(tmp_path, 0, 0, {}, metric), []
    saving.epoch_must_be_saved = False
    for epoch, (top1, loss) in enumerate([(0.5, 0.9), (0.5, 0.2), (0.8, 0.7), (0.1, 0.1)], start=1):
        metrics = {"val_top1": torch.tensor(top1), "val_loss": torch.tensor(loss), "own": torch.tensor(0.3)}
        trainer: Any = SimpleNamespace(callback_metrics=metrics, global_step=epoch, current_epoch=epoch, max_epochs=99)
        trainer.should_stop, trainer.save_checkpoint = False, lambda *_, **__: None
        saving.on_train_epoch_end(trainer, SimpleNamespace())
        found.append(saving.best_step)
    assert found == best and float(saving.best_model_score) == pytest.approx(float(saving.best))
    trainer.callback_metrics = {"val_top1": torch.tensor(0.5)}
    if metric != "val_top1":
        with pytest.raises(UserError, match=f"best={metric}: there is no such metric; there are val_top1"):
            saving.on_train_epoch_end(trainer, SimpleNamespace())


def test_a_stream_that_is_full(tmp_path):
    with open("/dev/full", "w") as full:
        stream = Stream(full)
        for _ in range(3):
            stream.write("a line\n" * 2000)
            stream.flush()
        assert stream.isatty() is False
    assert sys.stdout is not stream


def test_a_run_of_a_version_without_a_key_does_not_continue_with_other_bits(tmp_path):
    directory.save_config(tmp_path, OmegaConf.create(GOOD), {}, [])
    directory.save_results(tmp_path, {"test_top1": 0.5})
    cfg = directory.read_config(tmp_path / "config.yaml")
    directory.check_same(tmp_path, cfg)
    cfg.recipe.device_batch = 0
    with pytest.raises(UserError, match="by a version without recipe.device_batch.* or choose another name"):
        directory.check_same(tmp_path, cfg)


def test_results_are_json(tmp_path):
    directory.save_results(tmp_path, {"test_top1": 0.5})
    assert json.loads((tmp_path / "results.json").read_text()) == directory.load_results(tmp_path)
