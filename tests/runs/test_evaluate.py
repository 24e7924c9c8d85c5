"""evaluate.py and lineage export: the run's own test again, on other data, sizes and devices, and its network for
others; a
run's directory from elsewhere is data."""

import pytest
from doors import cold, command, results
from omegaconf import OmegaConf
from runs.pictures import write_folders
from runs.states import EVERYTHING, PAIR, SHORT

pytestmark = pytest.mark.xdist_group("evaluate")  # one worker, one fixture


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with two finished runs, which are only read: `whole`, of everything, and `short`."""
    folder = tmp_path_factory.mktemp("runs")
    for words in ((*EVERYTHING, "run=whole"), (*SHORT, "run=short")):
        done = command(folder, "train", *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ["whole", "short", "sh"])  # the first tests averaged weights; the last is a beginning
def test_evaluation_repeats_the_runs_test(runs, name):
    done = command(runs, "evaluate", f"run={name}", "trainer=cpu")
    expected = results(runs / "runs" / ("whole" if name == "whole" else "short"))
    assert f"test_loss  {expected['test_loss']:.6f}" in done.stdout, done.stdout + done.stderr
    assert f"test_top1  {expected['test_top1']:.6f}" in done.stdout


def test_other_splits_sizes_and_checkpoints(runs):
    done = command(runs, "evaluate", "run=short", "split=val", "resolution=40", "checkpoint=best", "trainer=cpu")
    assert done.returncode == 0 and "180 images of split val, 40 px" in done.stdout, done.stderr
    assert "best.ckpt" in done.stdout


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("run=shrt", "short"),
        ("run=short arch=resnet18", "another network"),
        ("run=short datamodule.num_classes=9", "10 classes"),
        ("run=short pretrained=timm", "one of them"),
    ],
)
def test_what_does_not_fit(runs, words, hint):
    done = command(runs, "evaluate", *words.split())
    assert done.returncode == 1 and hint in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_run_goes_out_and_comes_back(runs):
    done = command(runs, "export", "run=short", "to=safetensors")
    assert done.returncode == 0, done.stderr
    assert "0, 1, 2, 3, 4, ... 10 in all" in done.stdout and "not finished" not in done.stdout
    back = command(runs, "evaluate", "pretrained=exports/short.safetensors", "trainer=cpu")
    assert f"test_loss  {results(runs / 'runs' / 'short')['test_loss']:.6f}" in back.stdout, back.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "Nothing to export: name run=NAME"),
        ("run=short to=tim", "to=tim: it is one of timm, torchvision, safetensors, onnx, torch_export"),
        ("run=short to=timm output=runs", "runs is there already: remove it, or name another place, output=FILE"),
    ],
)
def test_wrong_words_of_an_export(runs, words, sentence):
    """In one line, before torch is imported."""
    done = cold(runs, "export", *words.split())
    assert done.returncode == 1 and done.stderr.strip().startswith(sentence), done.stderr


@pytest.mark.proofs
def test_more_devices_than_images(tmp_path):
    write_folders(tmp_path / "data", count=1, classes=("ant",), size=(40, 50))
    words = (
        "datamodule=imagenet", f"datamodule.root={tmp_path}/data", "datamodule.num_classes=1", "arch=lenet5",
        "datamodule.channels=1", "datamodule.mean=[0.5]", "datamodule.std=[0.2]", "datamodule.workers=0",
        "recipe.crop=rrc", "recipe.crop_padding=0", "recipe.crop_padding_mode=none", "recipe.crop_scale=[0.5,1]",
        "recipe.crop_ratio=[0.75,1.33]",
    )  # fmt: skip
    batch = ("recipe.batch_size=2", "recipe.epochs=2", "recipe.decay_epochs=[1]")
    done = command(tmp_path, "train", *words, *batch, "trainer=cpu", "logger=none", "run=a")
    assert done.returncode == 0, done.stderr
    alone = command(tmp_path, "evaluate", "run=a", "trainer=cpu")
    three = command(tmp_path, "evaluate", "run=a", *PAIR[:2], "trainer.devices=3", "trainer.timeout_s=60")
    assert alone.returncode == three.returncode == 0, three.stderr
    assert "1 images of split test" in three.stdout
    assert alone.stdout == three.stdout


FOREIGN = [
    "torch.hub.load", "torch.serialization.load", "numpy.load", "joblib.load", "pathlib.Path.touch", "os.system",
    "lineage.archs.blocks.torch.load", "lineage.archs.resnet.nn.Module",
    "lineage.datamodules.sets.cifar.pickle.loads", "lineage.running.trainer.Trainer",
]  # fmt: skip


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.parametrize("place", ["arch", "datamodule", "arch.variant", "datamodule.mean"])
def test_a_directory_from_elsewhere_is_data(tmp_path, monkeypatch, runs, target, place):
    """Nothing that its config names is called but this project's own classes."""
    from conftest import composed

    from lineage.errors import UserError
    from lineage.running import directory

    config = OmegaConf.load(runs / "runs" / "short" / "config.yaml")
    node = {"_target_": target, "path": str(tmp_path / "touched")}
    OmegaConf.update(config, place, node, merge=False)
    with pytest.raises(UserError, match="only this project's classes"):
        group = place.split(".")[0]
        directory.check_built(tmp_path / "config.yaml", group, config[group])
    directory.check_built(tmp_path / "config.yaml", "arch", composed("arch=timm").arch)


def test_evaluate_calls_nothing_of_it(tmp_path, runs):
    folder = tmp_path / "runs" / "x"
    (folder / "checkpoints").mkdir(parents=True)
    config = OmegaConf.load(runs / "runs" / "short" / "config.yaml")
    config.datamodule = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "touched")}
    OmegaConf.save(config, folder / "config.yaml")
    done = command(tmp_path, "evaluate", "run=x")
    assert done.returncode == 1 and "asks to build pathlib.Path.touch" in done.stderr
    assert not (tmp_path / "touched").exists()
