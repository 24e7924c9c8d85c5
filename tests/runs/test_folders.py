"""Every recipe on a folder of images, end to end: train, kill, go on, evaluate."""

from __future__ import annotations

import pytest
from doors import ROOT, command, results
from runs.pictures import write_folders

RECIPES = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))
# What a recipe for images of one size needs for files of any size: the command's own hint.
CROP = "recipe.crop=rrc recipe.crop_scale=[0.3,1] recipe.crop_ratio=[0.75,1.3333] recipe.crop_padding=0".split()
OF_ONE_SIZE = [*CROP, "recipe.crop_padding_mode=none"]


def words_of(recipe: str, root) -> list[str]:
    words = [
        "arch=resnet18", "arch.widths=[8,8,16,16]", "datamodule=imagenet", f"datamodule.root={root}", "trainer=cpu",
        "datamodule.num_classes=2", "datamodule.workers=1", f"recipe={recipe}", "recipe.train_res=32",
        "recipe.epochs=2",
        "recipe.test_res=32", "recipe.batch_size=8", "recipe.lr=1e-3", "trainer.log_every_n_steps=1", "logger=csv",
        "trainer.checkpoint_steps=1",
    ]  # fmt: skip
    text = (ROOT / "conf" / "recipe" / f"{recipe}.yaml").read_text()
    if "crop: pad" in text:
        words += OF_ONE_SIZE
    if "crop: scale_jitter" in text:
        words.append("recipe.crop_scale=[36,64]")
    if "warmup_epochs: 5" in text:
        words.append("recipe.warmup_epochs=1")
    if "decay_epochs" in text:
        words.append("recipe.decay_epochs=[1]")
    return words


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_on_a_folder(tmp_path, recipe):
    write_folders(tmp_path / "data", count=6)
    words = words_of(recipe, tmp_path / "data")
    done = command(tmp_path, "train.py", *words, "run=whole")
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "runs" / "whole"
    found = results(whole)
    assert any("was published at 224, and is tested at 32" in note for note in found["notes"])

    # as after a kill at the second step
    done = command(tmp_path, "train.py", *words, "run=half", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    (tmp_path / "runs" / "half" / "results.json").unlink()
    done = command(tmp_path, "train.py", *words, "run=half")
    assert done.returncode == 0 and "continues" in done.stdout, done.stderr
    assert results(tmp_path / "runs" / "half")["test_loss"] == found["test_loss"]

    evaluated = command(tmp_path, "evaluate.py", "run=whole", "trainer=cpu", "crop=0.9")
    again = command(tmp_path, "evaluate.py", "run=whole", "trainer=cpu")
    assert evaluated.returncode == 0 and f"test_loss  {found['test_loss']:.6f}" in again.stdout, again.stderr


@pytest.mark.parametrize("recipe", ["sgd_step", "wrn", "resnet_cifar"])
def test_a_recipe_for_one_size_says_what_it_needs(tmp_path, recipe):
    write_folders(tmp_path / "data")
    words = [word for word in words_of(recipe, tmp_path / "data") if word not in OF_ONE_SIZE]
    done = command(tmp_path, "train.py", *words)
    assert done.returncode == 1 and "recipe.crop=rrc" in done.stderr
    assert not (tmp_path / "runs").exists()
