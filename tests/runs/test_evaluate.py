"""evaluate.py and lineage export with runs of this machine, and with a run's directory from elsewhere."""

import pytest
from conftest import composed
from doors import finished, mistake, refused, results
from omegaconf import OmegaConf
from runs.pictures import write_folders
from runs.states import PAIR

from lineage.config import saved_run
from lineage.errors import UserError

pytestmark = pytest.mark.xdist_group("trained")  # one worker, one fixture


@pytest.mark.parametrize("name", ["whole", "sh"])  # the first tests averaged weights; the other is a beginning
def test_evaluation_repeats_the_runs_test(trained, name):
    table = finished(trained, "evaluate", f"run={name}", "trainer=cpu").table
    expected = results(trained / "runs" / ("whole" if name == "whole" else "short"))
    assert all(table[key] == f"{expected[key]:.6f}" for key in ("test_loss", "test_top1")), table


def test_other_splits_sizes_and_checkpoints(trained):
    words = ("run=short", "split=val", "resolution=40", "checkpoint=best", "trainer=cpu")
    out = finished(trained, "evaluate", *words).stdout
    assert "180 images of split val, 40 px" in out and "best.ckpt" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("run=shrt", "short"),
        ("run=short arch=resnet18", "another network"),
        ("run=short datamodule.num_classes=9", "10 classes"),
        ("run=short pretrained=timm", "one of them"),
    ],
)
def test_what_does_not_fit(trained, words, hint):
    assert hint in mistake(trained, "evaluate", *words.split())


def test_a_run_goes_out_and_comes_back(trained):
    out = finished(trained, "export", "run=short", "to=safetensors").stdout
    assert "0, 1, 2, 3, 4, ... 10 in all" in out and "not finished" not in out
    back = finished(trained, "evaluate", "pretrained=exports/short.safetensors", "trainer=cpu")
    assert back.table["test_loss"] == f"{results(trained / 'runs' / 'short')['test_loss']:.6f}"


@pytest.mark.proofs
def test_more_devices_than_images(tmp_path):
    write_folders(tmp_path / "data", count=1, classes=("ant",), size=(40, 50))
    words = (
        f"datamodule=imagenet datamodule.root={tmp_path}/data datamodule.num_classes=1 arch=lenet5 "
        "datamodule.channels=1 datamodule.mean=[0.5] datamodule.std=[0.2] datamodule.workers=0 recipe.crop=rrc "
        "recipe.crop_padding=0 recipe.crop_padding_mode=none recipe.crop_scale=[0.5,1] recipe.crop_ratio=[0.75,1.33] "
        "recipe.batch_size=2 recipe.epochs=2 recipe.decay_epochs=[1] trainer=cpu logger=none run=a"
    ).split()
    finished(tmp_path, "train", *words)
    alone = finished(tmp_path, "evaluate", "run=a", "trainer=cpu")
    three = finished(tmp_path, "evaluate", "run=a", *PAIR[:2], "trainer.devices=3", "trainer.timeout_s=60")
    assert "1 images of split test" in three.stdout and alone.stdout == three.stdout


FOREIGN = [
    "torch.hub.load", "torch.serialization.load", "numpy.load", "joblib.load", "pathlib.Path.touch", "os.system",
    "lineage.archs.blocks.torch.load", "lineage.archs.resnet.nn.Module",
    "lineage.datamodules.sets.cifar.pickle.loads", "lineage.running.trainer.Trainer",
]  # fmt: skip


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.parametrize("place", ["arch", "datamodule", "arch.variant", "datamodule.mean"])
def test_a_directory_from_elsewhere_is_data(tmp_path, trained, target, place):
    """Nothing that its config names is called but this project's own classes."""
    config, group = OmegaConf.load(trained / "runs" / "short" / "config.yaml"), place.split(".")[0]
    OmegaConf.update(config, place, {"_target_": target, "path": str(tmp_path / "touched")}, merge=False)
    with pytest.raises(UserError, match="of this project and of trusted packages"):
        saved_run.check_target(tmp_path / "config.yaml", group, config[group], ())


def test_a_directory_may_name_timms_network(tmp_path):
    saved_run.check_target(tmp_path / "config.yaml", "arch", composed("arch=timm").arch, ())


def test_evaluate_calls_nothing_of_it(tmp_path, trained):
    folder = tmp_path / "runs" / "x"
    (folder / "checkpoints").mkdir(parents=True)
    config = OmegaConf.load(trained / "runs" / "short" / "config.yaml")
    config.datamodule = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "touched")}
    OmegaConf.save(config, folder / "config.yaml")
    assert "asks to build pathlib.Path.touch" in refused(tmp_path, "evaluate", "run=x")
    assert not (tmp_path / "touched").exists()
