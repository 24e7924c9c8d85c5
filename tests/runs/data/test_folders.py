"""Recipes on a folder of images, end to end: train, kill, resume, evaluate."""

import pytest
from doors import finished, results
from runs.pictures import write_folders
from short import RECIPES, arch_of, shortened

# Together they have crops of both kinds, policies, all ways of mixing, repetitions, averages and statistics of all
# kinds, several optimisers and losses.
OFTEN = ["fams", "resnet", "rsb_a1", "torchvision_v2", "sgd_step"]


def words_of(recipe: str, root) -> list[str]:
    return [
        *arch_of(recipe), "datamodule=imagenet", f"datamodule.root={root}", "trainer=cpu", "datamodule.num_classes=2",
        "datamodule.workers=1", *shortened(recipe), "trainer.log_every_n_steps=1", "logger=csv",
        "trainer.checkpoint_steps=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "recipe", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.proofs) for name in RECIPES]
)
def test_a_recipe_on_a_folder(tmp_path, recipe):
    write_folders(tmp_path / "data", count=6)
    words = words_of(recipe, tmp_path / "data")
    finished(tmp_path, "train", *words, "run=whole")
    loss = results(tmp_path / "runs" / "whole")["test_loss"]

    # as after a kill at the end of the first epoch
    finished(tmp_path, "train", *words, "run=half", "trainer.max_epochs=1")
    (tmp_path / "runs" / "half" / "results.json").unlink()
    assert "continues" in finished(tmp_path, "train", *words, "run=half").stdout
    assert results(tmp_path / "runs" / "half")["test_loss"] == loss

    finished(tmp_path, "evaluate", "run=whole", "trainer=cpu", "crop=0.9")
    assert finished(tmp_path, "evaluate", "run=whole", "trainer=cpu").table["test_loss"] == f"{loss:.6f}"
