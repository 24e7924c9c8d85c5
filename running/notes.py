"""What of the config does not apply to this run. Nothing is ignored in silence: the run says it once."""

from __future__ import annotations

from omegaconf import DictConfig

# What a recipe asks of the network, and the argument by which a network takes it.
ASKED_OF_ARCH = {"drop_path": "it has no residual branch to drop", "dropout": "it has no dropout"}


def what_does_not_apply(cfg: DictConfig, arch: str, data: str, in_memory: bool) -> list[str]:
    """Sentences for the first screen and results.json."""
    recipe, notes = cfg.recipe, []
    for name, why in ASKED_OF_ARCH.items():
        if recipe[name] and name not in cfg.arch:
            notes.append(f"recipe.{name}={recipe[name]} does not apply to {arch}: {why}")
    for name, value in (cfg.arch.released.get(cfg.arch.pretrained or "") or {}).items():
        if name != "name":
            notes.append(f"arch.{name}={value}, as {cfg.arch.pretrained}'s weights need it")
    if recipe.hflip and not cfg.datamodule.mirror:
        notes.append(f"recipe.hflip={recipe.hflip} is off: a mirrored image of {data} is not of its class")
    if recipe.pca_lighting and cfg.datamodule.channels != 3:
        notes.append(f"recipe.pca_lighting={recipe.pca_lighting} is off: {data} has no colour")
    if cfg.datamodule.val_size == 0:
        notes.append("validation is the test set (datamodule.val_size=0)")
    if in_memory:
        side = cfg.datamodule.resolution
        if (recipe.train_res, recipe.test_res) != (side, side):
            notes.append(f"recipe.train_res, test_res, test_crop_ratio do not apply: {data} keeps its {side}x{side}")
    elif recipe.test_res != cfg.arch.resolution:
        notes.append(f"{arch} was published at {cfg.arch.resolution}, and is tested at {recipe.test_res}")
    return notes
