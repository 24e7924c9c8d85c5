"""Checks values that are valid alone, but not with another value or with the files on the disk. Imports no torch."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lineage.config.derived import searched_cells
from lineage.errors import UserError
from lineage.rules import Group, broken_rule
from lineage.running import directory
from lineage.weights.preprocessing import LIBRARIES, weights_file

RULES = Path(__file__).with_name("rules.yaml")


def check_combinations(cfg: DictConfig) -> None:
    """Refuse values that are valid alone, but not together. Raises UserError."""
    names = ("arch", "datamodule", "recipe", "trainer")
    groups: Any = {name: Group.of(cfg[name]) for name in names}
    recipe, trainer = groups["recipe"], groups["trainer"]
    side, epochs = groups["datamodule"].resolution or recipe.train_res, recipe.epochs + recipe.cooldown_epochs
    derived = {"side": side, "epochs": epochs, "epochs_now": min(trainer.max_epochs or epochs, epochs)}
    own = Group({str(key): value for key, value in cfg.items() if not OmegaConf.is_dict(value)})
    if wrong := broken_rule(RULES, {**groups, **derived, "own": own}):
        raise UserError(wrong)
    for name, node in (cfg.get("callbacks") or {}).items():
        if str(node.get("monitor", "")).startswith("val_") and trainer.limit_val_batches == 0:
            raise UserError(f"callbacks.{name}.monitor={node.monitor}: trainer.limit_val_batches=0 validates nothing.")
    searched_cells(cfg)
    _check_pretrained(cfg)


def check_places(cfg: DictConfig, verb: str) -> None:
    """Raise UserError: a folder of images is missing (other data are downloaded), or the place of a result is taken."""
    folders = ("lineage.datamodules.sets.imagefolder.", "lineage.datamodules.sets.imagenet.")
    root = Path(str(cfg.datamodule.get("root") or cfg.datamodule.get("name"))).expanduser().absolute()
    reads = verb in ("train", "evaluate", "prepare", "preview") and str(cfg.datamodule._target_).startswith(folders)
    if reads and cfg.datamodule.get("root") is not None and not root.is_dir():
        raise UserError(f"{root} is not a folder. Name the one that holds the images: datamodule.root=FOLDER")
    if verb == "export" and Path(str(cfg.output)).exists():
        raise UserError(f"{cfg.output} is there already: remove it, or name another place, output=FILE.")
    if verb == "prepare" and cfg.out is not None:
        out = Path(str(cfg.out)).resolve()
        if out.is_file():
            raise UserError(f"out={cfg.out}: it is a file; packing makes a folder.")
        if root.resolve() in (out, *out.parents):
            raise UserError(f"out={cfg.out}: it lies among the images, {root}, and would be taken for some of them.")


def _check_pretrained(cfg: DictConfig) -> None:
    pretrained, published = cfg.pretrained, cfg.get("published") or {}
    libraries = [name for name in LIBRARIES if published.get(name)]
    if pretrained in LIBRARIES:
        if pretrained not in libraries:
            others = "".join(f" {library} has." for library in libraries)
            raise UserError(f"pretrained={pretrained}: it has no released weights of this network.{others}")
    elif pretrained is not None and not weights_file(str(pretrained)).is_file() and not directory.is_continued(cfg):
        raise UserError(f"pretrained={pretrained}: it is timm, torchvision or a file; no such file is here.")
