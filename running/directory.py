"""A run's directory: its name, who works in it, whose it is, what it holds. Imports no torch."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from running.sources import defined_in
from user_error import UserError

SAME = ("arch", "datamodule", "recipe", "pretrained", "freeze", "teacher", "seed")  # what a run may not change
FREE = (  # but for this of it: where and by whom files are read, and what then comes of those that cannot be
    "datamodule.root",
    "datamodule.workers",
    "datamodule.cache",
    "datamodule.on_error",
    "datamodule.max_errors",
)


def is_main_process() -> bool:
    """Whether this is the process of rank 0, by the variables that Lightning, torchrun and SLURM set."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"))


def is_name(run: str) -> bool:
    """Whether a run's name stays below the folder of runs."""
    parts = PurePath(run).parts
    return bool(parts) and not PurePath(run).is_absolute() and ".." not in parts and "\0" not in run


def folder_of(cfg: DictConfig) -> Path:
    return Path(str(cfg.runs)) / str(cfg.run)


def goes_on(cfg: DictConfig) -> bool:
    """Whether the command is of a run that has saved a step."""
    if cfg.get("run") is None or cfg.get("runs") is None:  # a door that knows no runs
        return False
    checkpoints = folder_of(cfg) / "checkpoints"
    return any((checkpoints / f"{name}.ckpt").exists() for name in ("last", "previous"))


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").exists()


# ---- who works in it


class Lock:
    """The right to write in a folder, held by one process until it ends, in whatever way.

    The operating system frees the lock of a process that dies; lock.json only says whose it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = FileLock(folder / ".lock")

    def acquire(self) -> None:
        """Make the folder and take it. Raises UserError: somebody else has it, and since when."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.folder} is in use{self._holder()}. Wait for it, or choose another name.") from None
        here = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_whole(self.folder / ".lock.json", json.dumps(here))

    def _holder(self) -> str:
        try:
            held = json.loads((self.folder / ".lock.json").read_text())
            return f" by process {held['pid']} on {held['host']}, since {held['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def release(self) -> None:
        if self.lock.is_locked:
            (self.folder / ".lock.json").unlink(missing_ok=True)
            (self.folder / ".lock").unlink(missing_ok=True)  # while it is held: who opened it before finds it locked
            self.lock.release()


def is_in_use(folder: Path) -> bool:
    if not (folder / ".lock").exists():
        return False
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def remove_parts(folder: Path) -> None:
    """Remove files that a kill left half-written."""
    for place in (folder, folder / "checkpoints"):
        for part in place.glob("*.part"):
            part.unlink(missing_ok=True)


# ---- whose it is


def check_same(folder: Path, cfg: DictConfig, found: Collection[str] = ()) -> None:
    """Raise UserError, naming the first difference, if the folder holds a run of another arch, data, recipe or seed.

    Args:
        found: the keys that the data say, and not the command.
    """
    saved = folder / "config.yaml"
    if not saved.exists():
        if any((folder / "checkpoints").glob("*.ckpt")):
            raise UserError(f"{folder} has checkpoints and no config.yaml, so what run it is cannot be told.")
        return
    old = read_config(saved)
    if old.datamodule.get("_target_") == cfg.datamodule.get("_target_"):  # else they are other data altogether
        _check_found(folder, old, cfg, found)
    for group in SAME:
        before, now = _flat(group, _plain(old.get(group))), _flat(group, _plain(cfg.get(group)))
        for key in sorted((before.keys() | now.keys()) - set(FREE)):
            if before.get(key) != now.get(key):
                raise UserError(
                    f"{folder} is a run with {key}={before.get(key)}, and this command says {key}={now.get(key)}.\n"
                    "Choose another name, or give the values it was started with."
                )


def _check_found(folder: Path, old: DictConfig, cfg: DictConfig, found: Collection[str]) -> None:
    """What the data say comes first: arch.num_classes, for one, follows from it."""
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
        config: Any = OmegaConf.load(path)
        missing = [group for group in ("arch", "datamodule", "recipe", "seed") if config.get(group) is None]
    except Exception as error:  # whatever a damaged file makes of YAML
        raise UserError(f"{path} is damaged and cannot be read ({type(error).__name__}).") from error
    if missing:
        raise UserError(f"{path} is damaged: it has no {missing[0]}.")
    return config


def check_built(path: Path, group: str, node: DictConfig) -> None:
    """Raise UserError unless what a config from elsewhere builds is one class, and that class this project's own.

    A `_target_` is a function that is called: torch.hub.load and pathlib.Path.touch are as good as any.
    """
    values: Any = OmegaConf.to_container(node, resolve=False)
    targets = list(_targets(values))
    mine = isinstance(values, dict) and targets == [values.get("_target_")] and _is_ours(group, str(targets[0]))
    if not mine:
        foreign = next((t for t in targets if not _is_ours(group, str(t))), targets[-1] if targets else "nothing")
        raise UserError(
            f"{path} asks to build {foreign} as {group}; from a file only this project's classes are built."
        )


def _is_ours(group: str, target: str) -> bool:
    room = {"arch": "archs", "datamodule": "datamodules"}[group]
    return target.startswith(f"{room}.") and defined_in(target) is not None


def _targets(values: Any) -> Iterator[Any]:
    if isinstance(values, dict):
        if "_target_" in values:
            yield values["_target_"]
        for value in values.values():
            yield from _targets(value)
    elif isinstance(values, list):
        for value in values:
            yield from _targets(value)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _flat(prefix: str, node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, value in node.items() for k, v in _flat(f"{prefix}.{key}", value).items()}


# ---- what it holds


def save_config(folder: Path, cfg: DictConfig, overrides: list[str]) -> None:
    """Write config.yaml (resolved) and overrides.yaml (the command's words)."""
    write_whole(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    write_whole(folder / "overrides.yaml", yaml.safe_dump(overrides))


def save_results(folder: Path, results: dict[str, Any]) -> None:
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")


def load_results(folder: Path) -> dict[str, Any]:
    """The results of a finished run. Raises UserError: the file is damaged."""
    try:
        results = json.loads((folder / "results.json").read_text())
        return {**results, "test_top1": float(results["test_top1"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/results.json is damaged: remove it, and the same command tests again.") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever looks sees the old one or the new one whole. Raises UserError: it cannot be."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(cannot_write(path, error)) from error


def cannot_write(path: Path, error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
    return f"{path} cannot be written ({reason}). Make room or choose runs=FOLDER; the same command goes on."
