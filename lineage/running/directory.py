"""A run's directory: its name, the run that it belongs to, and its files. Imports no torch."""

import json
import os
from collections.abc import Collection
from pathlib import Path, PurePath
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from lineage.errors import UserError
from lineage.files import read_json, read_text, reason, write_whole
from lineage.renames import rename
from lineage.text import flat

FIXED_GROUPS = ("arch", "datamodule", "recipe", "pretrained", "freeze", "teacher", "seed")  # what a run may not change
CHANGEABLE_KEYS = (  # except these keys: where files are read, by how many processes, and what unreadable ones do
    "datamodule.root",
    "datamodule.workers",
    "datamodule.cache",
    "datamodule.on_error",
    "datamodule.max_errors",
)


def is_main_process() -> bool:
    """Whether this is the process of rank 0, by the variables that Lightning, torchrun and SLURM set.

    Where torchrun runs, its RANK alone says so: inside a SLURM job SLURM_PROCID is that of torchrun's own task.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return os.environ.get("RANK", "0") == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"))


def is_name(run: str) -> bool:
    """Whether a run's name stays below the folder of runs."""
    parts = PurePath(run).parts
    return bool(parts) and not PurePath(run).is_absolute() and ".." not in parts and "\0" not in run


def folder_of(cfg: DictConfig) -> Path:
    return Path(str(cfg.runs)) / str(cfg.run)


def is_continued(cfg: DictConfig) -> bool:
    """Whether the command continues a run that has saved a step."""
    return cfg.get("run") is not None and cfg.get("runs") is not None and has_checkpoint(folder_of(cfg))


def has_checkpoint(folder: Path) -> bool:
    return any((folder / "checkpoints" / f"{name}.ckpt").exists() for name in ("last", "previous"))


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").exists()


def fewer_epochs(folder: Path, cfg: DictConfig) -> int:
    """The epochs of the run in a folder, if the command trains it longer; otherwise 0."""
    before = read_config(folder / "config.yaml").recipe.get("epochs") if has_checkpoint(folder) else None
    return before if isinstance(before, int) and cfg.recipe.epochs > before else 0


# ---- the run that it belongs to


def check_same(folder: Path, cfg: DictConfig, found: Collection[str] = ()) -> None:
    """Raise UserError, naming the first difference, if the folder holds a run of another arch, data, recipe or seed.
    Only more epochs may be asked for.

    Args:
        found: the keys that were inferred from the data.
    """
    saved = folder / "config.yaml"
    if not has_checkpoint(folder) and not is_finished(folder):
        return  # a run that saved no step may be replaced
    if not saved.exists():
        raise UserError(f"{folder} has checkpoints and no config.yaml, so it is unknown what run it is.")
    old = read_config(saved)
    if old.datamodule.get("_target_") == cfg.datamodule.get("_target_"):  # else: another data set
        _check_found(folder, old, cfg, found)
    for group in FIXED_GROUPS:
        before, now = flat(group, _plain(old.get(group))), flat(group, _plain(cfg.get(group)))
        for key in sorted((before.keys() | now.keys()) - set(CHANGEABLE_KEYS)):
            if group == "recipe" and key not in before:
                raise UserError(
                    f"{folder} was started by a version without {key}, which decides its bits: continue it with that "
                    "version, or choose another name."
                )
            if before.get(key) != now.get(key) and not (key == "recipe.epochs" and fewer_epochs(folder, cfg)):
                raise UserError(
                    f"{folder} is a run with {key}={before.get(key)}, and this command says {key}={now.get(key)}.\n"
                    "Choose another name, or give the values it was started with."
                )


def _check_found(folder: Path, old: DictConfig, cfg: DictConfig, found: Collection[str]) -> None:
    """Compare inferred values first: others, such as arch.num_classes, depend on them."""
    for key in found:
        before, now = _plain(OmegaConf.select(old, key)), _plain(OmegaConf.select(cfg, key))
        if before != now:
            raise UserError(
                f"{folder} is a run with {key}={before}, and its images say {now} now.\n"
                "Bring back those it was started with, or choose another name."
            )


def read_config(path: Path) -> DictConfig:
    """A run's config.yaml. Raises UserError: it is damaged."""
    try:
        text = read_text(path)
        _check_yaml(text)
        config: Any = OmegaConf.create(text)
        missing = [group for group in ("arch", "datamodule", "recipe", "seed") if config.get(group) is None]
        check_no_interpolation(OmegaConf.to_container(config, resolve=False))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}).") from error
    except Exception as error:  # damaged YAML raises many types
        raise UserError(f"{path} is damaged and cannot be read ({reason(error)}).") from error
    if missing:
        raise UserError(f"{path} is damaged: it has no {missing[0]}.")
    for group in ("arch", "datamodule"):
        if OmegaConf.select(config, f"{group}._target_"):
            rename(config[group])
    return config


def _check_yaml(text: str, deepest: int = 50) -> None:
    """Raise ValueError for what would take all memory or time: few lines of aliases make gigabytes."""
    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it holds aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > deepest:
            raise ValueError("it is nested too deep")


def check_no_interpolation(values: Any) -> None:
    """Raise ValueError if a string in a file's values would become an interpolation: ${oc.env:KEY} reads secrets."""
    if isinstance(values, str) and "${" in values:
        raise ValueError(f"it holds {values!r}, which is not allowed in a file")
    for value in values.values() if isinstance(values, dict) else values if isinstance(values, list | tuple) else ():
        check_no_interpolation(value)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


# ---- its files


def save_config(folder: Path, cfg: DictConfig, choices: dict[str, str], overrides: list[str]) -> None:
    """Write config.yaml (resolved, below the names of the choices) and overrides.yaml (those of the command)."""
    named = OmegaConf.to_yaml({"choices": choices})
    write_whole(folder / "config.yaml", named + OmegaConf.to_yaml(cfg, resolve=True))
    write_whole(folder / "overrides.yaml", yaml.safe_dump(overrides))


def save_results(folder: Path, results: dict[str, Any]) -> None:
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")


def load_results(folder: Path) -> dict[str, Any]:
    """The results of a finished run. Raises UserError: the file is damaged."""
    try:
        results = read_json(folder / "results.json")
        return {**results, "test_top1": float(results["test_top1"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/results.json is damaged: remove it, and the same command tests again.") from error
