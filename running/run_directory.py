"""A run's directory: what it holds, and what a second command with the same name does. Imports no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from running.errors import UserError

SAME = ("arch", "datamodule", "recipe", "seed")  # what a run may not change; trainer and logger may
PLACES = ("datamodule.root", "datamodule.workers")  # where and by whom files are read changes nothing


def is_main_process() -> bool:
    """Whether this is the process of rank 0, by the variables that Lightning, torchrun and SLURM set."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"))


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").exists()


def check_same(folder: Path, cfg: DictConfig) -> None:
    """Raise UserError, naming the first difference, if the folder holds a run of another arch, data, recipe or seed."""
    saved = folder / "config.yaml"
    if not saved.exists():
        return
    old: Any = OmegaConf.load(saved)
    for group in SAME:
        before, now = _flat(group, _plain(old.get(group))), _flat(group, _plain(cfg.get(group)))
        for key in sorted((before.keys() | now.keys()) - set(PLACES)):
            if before.get(key) != now.get(key):
                raise UserError(
                    f"{folder} is a run with {key}={before.get(key)}, and this command says {key}={now.get(key)}.\n"
                    "Choose another name, or give the values it was started with."
                )


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _flat(prefix: str, node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, value in node.items() for k, v in _flat(f"{prefix}.{key}", value).items()}


def save_config(folder: Path, cfg: DictConfig, overrides: list[str]) -> None:
    """Write config.yaml (resolved) and overrides.yaml (the command's words)."""
    write_whole(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    write_whole(folder / "overrides.yaml", yaml.safe_dump(overrides))


def save_results(folder: Path, results: dict[str, Any]) -> None:
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")


def load_results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever looks sees the old one or the new one whole."""
    part = path.with_name(path.name + ".part")
    with open(part, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
