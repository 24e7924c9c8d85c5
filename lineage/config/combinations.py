"""Checks values that are valid alone, but not with another value or with the files on the disk. Imports no torch."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lineage.config.derived import searched_cells
from lineage.errors import UserError
from lineage.rules import Group, broken_rule
from lineage.running import directory
from lineage.text import as_yaml
from lineage.weights.preprocessing import LIBRARIES, weights_file

RULES = Path(__file__).with_name("rules.yaml")


def check_combinations(cfg: DictConfig) -> None:
    """Refuse values that are valid alone, but not together. Raises UserError."""
    names = ("arch", "datamodule", "recipe", "trainer")
    groups: Any = {name: Group.of(cfg[name]) for name in names}
    recipe, trainer = groups["recipe"], groups["trainer"]
    side, epochs = groups["datamodule"].resolution or recipe.train_res, recipe.epochs + recipe.cooldown_epochs
    derived = {"side": side, "epochs": epochs, "epochs_now": min(trainer.max_epochs or epochs, epochs)}
    if wrong := broken_rule(RULES, {**groups, **derived, "test_weights": cfg.get("test_weights")}):
        raise UserError(wrong)
    project = str((cfg.get("logger") or {}).get("wandb", {}).get("project", ""))
    if len(project) > 128 or set(project) & set("/\\#?%:"):
        raise UserError(f"logger.wandb.project={as_yaml(project)}: up to 128 characters, without / \\ # ? % and :.")
    for name, node in (cfg.get("callbacks") or {}).items():
        if str(node._target_).endswith(".EarlyStopping"):
            _check_early_stopping(f"callbacks.{name}", node, trainer.limit_val_batches)
    searched_cells(cfg)
    _check_pretrained(cfg)


def _check_early_stopping(path: str, node: DictConfig, limit_val_batches: float | None) -> None:
    if node.get("mode", "min") not in ("min", "max"):
        raise UserError(f"{path}.mode={node.mode}: it is max, of an accuracy, or min, of a loss.")
    if node.get("patience", 3) < 0:
        raise UserError(f"{path}.patience={node.patience}: it is 0 epochs or more.")
    if str(node.get("monitor", "")).startswith("val_") and limit_val_batches == 0:
        raise UserError(f"{path}.monitor={node.monitor}: trainer.limit_val_batches=0 validates nothing.")


def check_root(cfg: DictConfig, verb: str) -> None:
    """Raise UserError if a folder of images is missing, before torch is imported; other data are downloaded."""
    folders = ("lineage.datamodules.sets.imagefolder.", "lineage.datamodules.sets.imagenet.")
    if verb in ("train", "evaluate", "prepare", "preview") and str(cfg.datamodule._target_).startswith(folders):
        root = Path(str(cfg.datamodule.root)).expanduser().absolute()
        if not root.is_dir():
            raise UserError(f"{root} is not a folder. Name the one that holds the images: datamodule.root=FOLDER")


def _check_pretrained(cfg: DictConfig) -> None:
    pretrained, published = cfg.pretrained, cfg.get("published") or {}
    libraries = [name for name in LIBRARIES if published.get(name)]
    if pretrained in LIBRARIES:
        if pretrained not in libraries:
            others = "".join(f" {library} has." for library in libraries)
            raise UserError(f"pretrained={pretrained}: it has no released weights of this network.{others}")
    elif pretrained is not None and not weights_file(str(pretrained)).is_file() and not directory.is_continued(cfg):
        raise UserError(f"pretrained={pretrained}: it is timm, torchvision or a file; no such file is here.")


def check_export(cfg: DictConfig) -> None:
    if cfg.to == "safetensors" and not str(cfg.output).endswith(".safetensors"):
        raise UserError(f"output={cfg.output}: such files are known by their ending, output={cfg.output}.safetensors")
    if Path(str(cfg.output)).exists():
        raise UserError(f"{cfg.output} is there already: remove it, or name another place, output=FILE.")


def check_prepare(cfg: DictConfig, overrides: list[str]) -> None:
    if (cfg.out is None) == (not cfg.check):
        raise UserError(
            "lineage prepare packs, out=DIR, or reads every image and packs nothing, check=true: say which."
        )
    given = {override.split("=")[0] for override in overrides}
    unread = [key for key in ("max_size", "quality", "images_per_shard", "seed") if key in given and cfg.check]
    if "quality" in given and cfg.max_size is None:
        unread.append("quality")
    if unread:
        why = "check=true packs nothing" if cfg.check else "without max_size files keep their bytes"
        raise UserError(f"{unread[0]}={cfg[unread[0]]} is not read: {why}.")
    if "://" in str(cfg.out):
        raise UserError(f"out={cfg.out}: packing is done into a folder; copy it up afterwards, and read it from there.")
    if cfg.out is not None and Path(str(cfg.out)).is_file():
        raise UserError(f"out={cfg.out}: it is a file; packing makes a folder.")
    root = Path(str(cfg.datamodule.get("root") or cfg.datamodule.get("name"))).resolve()
    if cfg.out is not None and root in (Path(str(cfg.out)).resolve(), *Path(str(cfg.out)).resolve().parents):
        raise UserError(f"out={cfg.out}: it lies among the images, {root}, and would be taken for some of them.")
