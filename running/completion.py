"""What completes a checked config before anything is built: what weights need, sizes, names. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from recipes.recipe import Recipe
from running import directory
from sweeps.jobs import find_run, job_name
from user_error import UserError


def complete(cfg: DictConfig) -> None:
    """Complete the config in place.

    Raises:
        UserError: the run's directory is of another run; a size or crop that the data cannot have.
    """
    _add_what_weights_need(cfg)
    _apply_resolution(cfg)
    _apply_crop(cfg)
    hydra: Any = HydraConfig.get()
    if hydra.job.config_name != "train":
        return
    if hydra.mode == RunMode.MULTIRUN:  # a job of a launcher that runs it in its own process
        cfg.run = f"{cfg.run}/{job_name(list(hydra.overrides.task))}"
    if directory.is_main_process():
        directory.check_same(directory.folder_of(cfg), cfg)


def with_run(cfg: DictConfig) -> None:
    """Give the config what the run that `run` names has, but for what the command says; the weights of that run.

    A run's directory is data that may come from elsewhere: of its config only classes of this project are built.

    Raises:
        UserError: there is no such run, its config is damaged or names something else to build; nothing to evaluate.
    """
    if cfg.run is None:
        if cfg.pretrained is None:
            raise UserError("Nothing to evaluate: name run=NAME, or weights: pretrained=timm, torchvision or a file.")
        return
    hydra: Any = HydraConfig.get()
    words = list(hydra.overrides.task)
    if not directory.is_name(str(cfg.run)):
        raise UserError(f"run={cfg.run}: it is a name below {cfg.runs}/; another place is runs=FOLDER.")
    if cfg.pretrained is not None:
        raise UserError("run=NAME and pretrained=: the weights are of one of them.")
    folder = find_run(Path(str(cfg.runs)), str(cfg.run))
    saved = directory.read_config(folder / "config.yaml")
    keys = [word.split("=")[0].lstrip("+") for word in words]
    values = {key: OmegaConf.select(cfg, key) for key in keys if "." in key}
    with open_dict(cfg):
        for group in ("arch", "datamodule", "recipe", "published"):
            if group in keys or group not in saved:
                continue
            if group in ("arch", "datamodule"):
                directory.check_built(folder / "config.yaml", group, saved[group])
            elif group == "recipe":
                saved[group] = OmegaConf.merge(OmegaConf.structured(Recipe), saved[group])
            cfg[group] = saved[group]
        for key, value in values.items():
            OmegaConf.update(cfg, key, value)
    cfg.pretrained = str(folder / "checkpoints" / f"{cfg.checkpoint}.ckpt")


def _add_what_weights_need(cfg: DictConfig) -> None:
    """Give arch the arguments that its released weights need, such as norm_eps of timm's EfficientNets.

    Raises:
        UserError: the command says another.
    """
    words = {word.split("=")[0].lstrip("+") for word in HydraConfig.get().overrides.task}
    for key, value in ((cfg.get("published") or {}).get(cfg.pretrained) or {}).items() if cfg.pretrained else ():
        if key == "name":
            continue
        if f"arch.{key}" in words and cfg.arch[key] != value:
            raise UserError(f"arch.{key}={cfg.arch[key]}: the weights of pretrained={cfg.pretrained} need {value}.")
        OmegaConf.update(cfg.arch, str(key), value)


def _apply_resolution(cfg: DictConfig) -> None:
    """`resolution` is the size of a data set that has one, and the test's size of the others."""
    side = cfg.get("resolution")
    if side is None:
        return
    if cfg.datamodule.resolution is not None:
        cfg.datamodule.resolution = side
    else:
        cfg.recipe.test_res = side


def _apply_crop(cfg: DictConfig) -> None:
    if cfg.get("crop") is None:
        return
    if cfg.datamodule.resolution is not None:
        raise UserError("crop: these images have one size and are not cropped; resolution= resizes them.")
    cfg.recipe.test_crop_ratio = cfg.crop
