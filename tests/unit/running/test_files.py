"""Files that come from elsewhere are data; files that are written are whole, or not there; streams may be gone."""

import errno
import os
import sys
from pathlib import Path
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


def test_a_folder_has_one_writer(tmp_path):
    first, second, opened = files.Lock(tmp_path), files.Lock(tmp_path), len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        first.acquire()
        assert files.is_in_use(tmp_path)
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .*, since 20"):
            second.acquire()
        first.release()
        assert not files.is_in_use(tmp_path) and os.listdir(tmp_path) == []
    second.acquire()
    second.release()
    assert len(os.listdir("/proc/self/fd")) == opened


def write_checkpoint(path: Path, content: str) -> None:
    checkpoints.AtomicCheckpointIO().save_checkpoint({"content": content}, path)


@pytest.mark.parametrize(
    ("write", "read"),
    [(files.write_whole, Path.read_text), (write_checkpoint, lambda path: torch.load(path)["content"])],
)
def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch, write, read):
    """Its content is on the disk before it takes the name of the old one; what fails leaves the old one alone."""
    flushed, path = [], tmp_path / "a"
    monkeypatch.setattr("os.fsync", lambda file: flushed.append(os.fstat(file).st_size))
    for content in ("old", "the newer one"):
        write(path, content)
        assert read(path) == content and flushed.pop() == path.stat().st_size and not flushed
    monkeypatch.setattr("os.fsync", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match="a cannot be written .No space left"):
        write(path, "half")
    assert read(path) == "the newer one" and os.listdir(tmp_path) == ["a"]
    monkeypatch.undo()
    name = os.fsdecode(b"b\xc3\xa4 \xff")
    files.write_whole(tmp_path / "names", name)
    assert files.read_text(tmp_path / "names") == name


def state_at(step: int, best_step: int = 0, **more: Any) -> dict[str, Any]:
    """A checkpoint that says no more than it must."""
    callbacks = {"Checkpoints": {"best_step": best_step}}
    return {"state_dict": {}, "optimizer_states": [], "loops": {}, "global_step": step, "callbacks": callbacks, **more}


@pytest.mark.parametrize(
    ("last", "previous", "best", "found"),
    [
        (state_at(7, 7), state_at(3, 3), 3, (7, 7, 3, 7)),  # a kill came before best.ckpt was named
        (state_at(7, 3), state_at(3, 3), 3, (7, 7, 3, 3)),
        (b"PK\x03\x04cut short", state_at(3, 3), None, (3, 3, 3, 3)),
        ({"state_dict": {}}, state_at(3, 2), 2, (3, 3, 3, 2)),
        (None, None, 2, (0, None, None, None)),  # of a run that saved nothing else
    ],
)
def test_a_run_continues_at_its_newest_whole_checkpoint(tmp_path, last, previous, best, found):
    for name, content in (("last", last), ("previous", previous), ("best", best and state_at(best))):
        if isinstance(content, bytes):
            (tmp_path / f"{name}.ckpt").write_bytes(content)
        elif content is not None:
            torch.save(content, tmp_path / f"{name}.ckpt")
    start = checkpoints.to_continue(tmp_path)
    checkpoints.repair(tmp_path, start)
    assert bool(start.damaged) == (last is not None and start.step == 3)
    paths = [tmp_path / f"{name}.ckpt" for name in ("last", "previous", "best")]
    steps = [checkpoints.read(path)["global_step"] if path.exists() else None for path in paths]
    assert (start.step, *steps) == found


class Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_a_checkpoint_is_data_and_unaltered(tmp_path):
    path, weights = tmp_path / "last.ckpt", torch.arange(9999.0)
    torch.save(state_at(7, code=Touch(str(tmp_path / "made"))), path)
    with pytest.raises(checkpoints.CheckpointError, match="it holds code"):
        checkpoints.to_continue(tmp_path)
    assert not (tmp_path / "made").exists()
    torch.save(state_at(7, weights=weights), path)
    content = path.read_bytes()
    assert torch.equal(checkpoints.read(path)["weights"], weights)
    for place in (0, len(content) // 3, len(content) // 2, len(content) - 1000):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(checkpoints.CheckpointError, match="damaged"):
            checkpoints.read(path)


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "denied"), OSError(errno.ESTALE, "stale"), MemoryError()]
)
def test_what_cannot_be_read_is_not_damaged(tmp_path, monkeypatch, error):
    """last.ckpt is healthy: the run ends, and the older checkpoint does not take its place."""
    for name, step in (("last.ckpt", 7), ("previous.ckpt", 3)):
        torch.save(state_at(step), tmp_path / name)
    whole = torch.load

    def load(path, **options):
        if path.name == "last.ckpt":
            raise error
        return whole(path, **options)

    monkeypatch.setattr("torch.load", load)
    with pytest.raises(UserError, match="cannot be read") as raised:
        checkpoints.to_continue(tmp_path)
    assert not isinstance(raised.value, checkpoints.CheckpointError)


def test_a_run_that_goes_on_knows_from_whose_weights_it_started(tmp_path):
    said = ["starts from the weights of mine.pt"]
    state = state_at(3)
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
        stream, opened = Stream(full), len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            stream.write("a line\n" * 2000)
            stream.flush()
        assert stream.isatty() is False and len(os.listdir("/proc/self/fd")) == opened
        assert os.readlink(f"/proc/self/fd/{full.fileno()}") == "/dev/null"
    assert sys.stdout is not stream


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", 1, "a run with seed=0, and this command says seed=1"),
        ("datamodule.val_size", 5, "datamodule.val_size=9, and"),
        ("recipe.epochs", 2, "recipe.epochs=3, and"),
        ("recipe.epochs", 4, ""),
        ("datamodule.workers", 3, ""),
        ("trainer.devices", 2, ""),
    ],
)
def test_what_a_run_may_change_as_it_goes_on(tmp_path, key, value, said):
    cfg = OmegaConf.merge(GOOD, {"recipe": {"epochs": 3}, "datamodule": {"val_size": 9, "workers": 1}})
    directory.save_config(tmp_path, cfg, {}, [])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    command = directory.read_config(tmp_path / "config.yaml")
    OmegaConf.update(command, key, value, force_add=True)
    try:
        directory.check_same(tmp_path, command)
    except UserError as error:
        assert said and said in str(error)
    else:
        assert not said
    assert directory.fewer_epochs(tmp_path, command) == (3 if value == 4 else 0)


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "1"}, False),
        ({"SLURM_PROCID": "2"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "SLURM_PROCID": "1"}, True),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": "8", "LOCAL_RANK": "0"}, False),
    ],
)
def test_the_first_process_of_all_nodes(monkeypatch, variables, first):
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert directory.is_main_process() == first


def test_names_of_runs_stay_below_their_folder():
    assert directory.is_name("a/b") and not any(map(directory.is_name, ("", "../a", "a/../../b", "/a", "a\0b")))


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
    assert directory.load_results(tmp_path) == {"test_top1": 0.5}
    (tmp_path / "results.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="damaged"):
        directory.load_results(tmp_path)
