"""Every choice composes and passes the checks; every mistake is one line with the nearest right thing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, composed
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from recipes.recipe import Recipe, RecipeError
from running.check import is_of_kind

CHOICES = [
    f"{group}={path.stem}"
    for group in ("arch", "datamodule", "recipe", "trainer", "logger", "experiment")
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes(choice):
    cfg = composed(choice)
    recipe = OmegaConf.to_object(cfg.recipe)
    assert isinstance(recipe, Recipe)
    recipe.check()
    for group in ("arch", "datamodule", "trainer"):
        OmegaConf.to_container(cfg[group], resolve=True, throw_on_missing=True)


def test_defaults_of_the_schema_mean_off():
    assert all(
        value in (0, "", [], False, "none")
        for value in OmegaConf.to_container(OmegaConf.structured(Recipe)).values()
        if value != "???"
    )


MISTAKES = {
    "arch=resnt50": "resnet50",
    "recipe.lrr=1": "recipe.lr",
    "recipe.epochs=abc": "a whole number",
    "recipe.batch_size=-1": "at least 1",
    "recipe.mixup_alpha=-1": "not negative",
    "datamodule=cifr10": "cifar10",
    "+recipe.lrr=1": "recipe.lr",
    "arch.variannt=1998": "arch.variant",
    "trainer.max_per_device=many": "a whole number",
    "recipe.lr=null": "null",
    "recipe.decay_epochs=3": "a list",
    "recipe.optimizer=sdg": "sgd",
    "seed=-1": "seed",
    "+nothing=1": "nothing",
    "nothing": "key=value",
}

ASKS_FOR_TORCH = """
import runpy, sys
root, *words = sys.argv[1:]
sys.argv = [root + "/train.py", *words]
sys.path.insert(0, root)
try:
    runpy.run_path(root + "/train.py", run_name="__main__")
finally:
    assert "torch" not in sys.modules, "torch was imported"
"""


def without_torch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ASKS_FOR_TORCH, str(ROOT), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(("word", "hint"), MISTAKES.items())
def test_a_mistake_is_one_line(tmp_path, word, hint):
    done = without_torch(tmp_path, word)
    assert done.returncode == 1
    assert hint in done.stderr and word.split("=")[0].lstrip("+") in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2 and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_needs_no_torch(tmp_path):
    done = without_torch(tmp_path, "--help")
    assert done.returncode == 0 and "recipe: " in done.stdout and "python train.py -m" in done.stdout


def test_a_sweep_is_checked_before_its_first_job(tmp_path):
    done = without_torch(tmp_path, "-m", "recipe.lr=0.1,-1", "run=sweep")
    assert done.returncode == 1 and "recipe.lr=-1" in done.stderr
    assert not list(tmp_path.glob("runs/sweep/*/"))


@pytest.mark.parametrize(
    "change",
    [
        {"nesterov": True, "optimizer": "lamb"},
        {"bce_threshold": 0.2},
        {"crop": "rrc"},
        {"crop": "none"},
        {"schedule": "cosine"},
        {"schedule": "step", "decay_epochs": [1.0, 2.0]},
        {"ema": 0.9, "swa": 2},
        {"lamb_clip": 1.0},
        {"warmup_epochs": 100.0},
        {"eps": 1e-3},
        {"swa": 100},
        {"warmup_lr": 0.1},
        {"crop_padding_mode": "none"},
        {"label_smoothing": 1.5},
        {"rand_augment": "rand-m7", "auto_augment": "v0"},
    ],
)
def test_settings_that_would_be_ignored_are_refused(change):
    recipe = OmegaConf.to_object(composed().recipe)
    for name, value in change.items():
        setattr(recipe, name, value)
    with pytest.raises(RecipeError, match="recipe."):
        recipe.check()


def test_kinds():
    assert is_of_kind(2, "auto") and is_of_kind("x", None) and is_of_kind(1, 0.5) and is_of_kind(1998, "modern")
    assert not is_of_kind(True, 1) and not is_of_kind(1.5, 1) and not is_of_kind(1, True) and not is_of_kind(3, [1])
    assert not GlobalHydra.instance().is_initialized()
