"""examples/own_repository: a network, a recipe and a data set from somebody's own package, through every door."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from doors import ROOT, finished, refused, results

CHOICES = "arch=mine recipe=mine datamodule=blobs trainer=cpu logger=none".split()


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A copy of the example in which a run has been trained."""
    folder = tmp_path_factory.mktemp("own") / "repository"
    shutil.copytree(ROOT / "examples" / "own_repository", folder)
    own(folder, "train", *CHOICES, "run=first")
    return folder


def own(folder: Path, verb: str, *words: str, run: Any = finished) -> Any:
    """A command in the repository, whose package is on PYTHONPATH."""
    return run(folder, verb, "--config-dir", "conf", *words, PYTHONPATH=str(folder))


def test_it_learns(repository):
    found = results(repository / "runs" / "first")
    assert found["test_top1"] > 0.9 and (found["arch"], found["recipe"]) == ("mine", "mine")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("arch.widht=4", "Did you mean arch.width?"),
        ("arch.depth=9", "at most 5"),
        ("datamodule.val_siz=4", "Did you mean datamodule.val_size?"),
        ("arch.depth=5", "at least 32x32"),
    ],
)
def test_a_wrong_value_is_a_line(repository, words, sentence):
    assert sentence in own(repository, "train", *CHOICES, words, run=refused)


def test_a_sweep(repository):
    assert "seed-1" in own(repository, "train", "-m", *CHOICES, "recipe.epochs=1", "seed=1", "run=s").stdout


def test_other_doors_trust_the_package(repository):
    top1 = results(repository / "runs" / "first")["test_top1"]
    assert f"{top1:.6f}" in own(repository, "evaluate", "run=first", "trainer=cpu").stdout
    own(repository, "export", "run=first", "to=safetensors", "output=mine.safetensors")
    assert (repository / "mine.safetensors").exists()
    words = "teacher=first recipe.distill=soft recipe.distill_share=0.5 recipe.distill_temperature=2".split()
    own(repository, "train", *CHOICES, *words, "recipe.epochs=1", "run=student")


PLAIN = """
from torch import nn
class Plain(nn.Sequential):
    def __init__(self, num_classes, in_channels):
        layers = nn.Conv2d(in_channels, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        super().__init__(*layers, nn.Linear(32, num_classes))
class Broken(Plain):
    classifiers = ("head",)
"""
ARCH = """# @package _global_
arch: {_target_: mypkg.plain.Plain, num_classes: "${datamodule.num_classes}", in_channels: "${datamodule.channels}"}
published: {resolution: 16}
"""


def test_a_module_of_torch_alone(repository):
    """It needs nothing of this project; what it states wrongly is said before the first step."""
    (repository / "mypkg" / "plain.py").write_text(PLAIN)
    (repository / "conf" / "arch" / "plain.yaml").write_text(ARCH)
    words = "arch=plain recipe=mine recipe.epochs=1 datamodule=blobs trainer=cpu logger=none".split()
    own(repository, "train", *words, "run=plain")
    top1 = results(repository / "runs" / "plain")["test_top1"]
    assert f"{top1:.6f}" in own(repository, "evaluate", "run=plain", "trainer=cpu").stdout
    own(repository, "export", "run=plain", "to=safetensors", "output=p.safetensors")
    said = own(repository, "train", *words, "arch._target_=mypkg.plain.Broken", "run=broken", run=refused)
    assert "Broken.classifiers=[head]: there is no layer head" in said
    assert not (repository / "runs" / "broken").exists()


def test_a_package_that_nobody_named_is_refused(repository):
    """The run's own config cannot name it either."""
    folder, package = repository / "runs" / "foreign", {"PYTHONPATH": str(repository)}
    shutil.copytree(repository / "runs" / "first", folder, dirs_exist_ok=True)
    assert "plugins:\n- mypkg" in (folder / "config.yaml").read_text()
    for verb in ("evaluate", "export"):
        assert "plugins=[mypkg]" in refused(repository, verb, "run=foreign", **package)
    finished(repository, "evaluate", "run=foreign", "plugins=[mypkg]", "trainer=cpu", **package)


IN_PYTHON = """
import lineage
from lineage.archs import catalogue
words = ["trainer=cpu", "logger=none", "recipe.epochs=1", "recipe.batch_size=256"]
first, second = (lineage.train(*words, f"seed={seed}", f"run=python-{seed}") for seed in (0, 1))
assert first["steps"] == second["steps"] and first["test_loss"] != second["test_loss"]
try:
    lineage.train("arch=resnt18")
except lineage.errors.UserError as error:
    assert "Did you mean resnet18?" in str(error)
catalogue.add_config_dir("conf")
network = lineage.build("mine", num_classes=4, in_channels=1, pretrained="runs/first/checkpoints/last.ckpt")
print(lineage.__file__, network.notes[0])
"""


def test_in_a_new_environment(repository, tmp_path):
    """The project and the example are installed, not found beside the tests; what they need is this environment's."""
    environment, source = tmp_path / "environment", tmp_path / "source"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        if not file.startswith(("tests/", "docs/")) and (ROOT / file).exists():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, source / file, follow_symlinks=False)
    run = {"capture_output": True, "text": True, "timeout": 300, "cwd": repository}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, **run)
    python = environment / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")  # without what its own .pth files add
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    evaluate = [environment / "bin" / "lineage", "evaluate", "run=first", "trainer=cpu"]  # trusted by the entry point
    for line in ([*pip, source, repository], evaluate, [python, "-c", IN_PYTHON]):
        done = subprocess.run(line, env=variables, **run)
        assert done.returncode == 0, done.stderr
    assert str(environment) in done.stdout and "starts from the weights of runs/first" in done.stdout
