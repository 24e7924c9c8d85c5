"""What a command is checked for before anything is built: types, ranges, and what its run directory holds.

A Hydra callback: it runs once the config is composed, before a folder exists, and in under a second. Imports no torch.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from recipes.recipe import Recipe
from running.errors import UserError, for_people, nearest
from running.run_directory import check_same, is_finished, is_main_process, load_results

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list, [1, 2]"}


class Check(Callback):
    """Refuses a command that cannot work; says so and stops for a run that is finished."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with for_people():  # Hydra turns what a callback raises into a warning, but for SystemExit
            self.check(config)

    def check(self, config: DictConfig) -> None:
        overrides = list(config.hydra.overrides.task)
        check_values(config, overrides)
        complete_arch(config)
        named = any(word.split("=")[0] == "run" for word in overrides)
        if not named and _launched_from_outside():
            raise UserError("Several processes make one run: give it a name that all of them know, run=NAME.")
        if named and is_main_process():
            folder = Path("runs") / str(config.run)
            if is_finished(folder):
                top1 = load_results(folder).get("test_top1")
                print(f"{folder} is finished (test_top1 {top1:.4f}). For another run choose another name.")
                sys.exit(0)
            check_same(folder, config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not any(word.split("=")[0] == "run" for word in config.hydra.overrides.task):
            config.run = time.strftime("%Y-%m-%d/%H-%M-%S") + "-sweep"

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from running.sweep import close_sweep

        close_sweep(Path(config.hydra.sweep.dir))


def check_values(config: DictConfig, overrides: list[str], config_name: str = "train") -> None:
    """Raise RecipeError or UserError for the first value that is not of its kind or cannot be."""
    known = {field.name for field in fields(Recipe)}
    for key in config.recipe:
        if key not in known:  # +recipe.x= passes by the schema
            raise UserError(f"recipe.{key}: there is no such key.{nearest(str(key), known, 'recipe.')}")
    _check_types(config, overrides, config_name)
    recipe = OmegaConf.to_object(config.recipe)
    assert isinstance(recipe, Recipe)
    recipe.check()
    if not isinstance(config.seed, int) or config.seed < 0:
        raise UserError(f"seed={config.seed}: it takes a whole number from 0 on.")
    if config.test_weights not in ("last", "best"):
        raise UserError(f"test_weights={config.test_weights}: it is one of last, best.")


def complete_arch(config: DictConfig) -> None:
    """Give arch the arguments that its pretrained weights need. Raises UserError where there are no such weights."""
    arch = config.arch
    if arch.pretrained is None:
        return
    released = {library: entry for library, entry in arch.released.items() if entry}
    if arch.pretrained in released:
        for key, value in released[arch.pretrained].items():
            if key != "name":
                OmegaConf.update(arch, str(key), value)
    elif arch.pretrained in ("timm", "torchvision"):
        others = "".join(f" {library} has." for library in released)
        raise UserError(f"arch.pretrained={arch.pretrained}: it has no released weights of this network.{others}")
    elif not Path(str(arch.pretrained)).is_file():
        raise UserError(f"arch.pretrained={arch.pretrained}: it is timm, torchvision or a file; no such file is here.")


def apply_resolution(config: DictConfig) -> None:
    """Give `resolution` to a data set with a size of its own, or to the recipe for the others. Raises UserError."""
    side = config.resolution
    if side is None:
        return
    if not isinstance(side, int) or isinstance(side, bool) or side < 1:
        raise UserError(f"resolution={side}: it takes a whole number of pixels from 1 on.")
    if config.datamodule.resolution is not None:
        config.datamodule.resolution = side
    else:
        config.recipe.train_res = config.recipe.test_res = side


def _check_types(config: DictConfig, overrides: list[str], config_name: str) -> None:
    """Values of the groups without a schema have the type of the value that stands in their YAML."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    loader = GlobalHydra.instance().config_loader()
    groups = [o for o in parsed if o.is_delete() or loader.get_group_options(o.key_or_group.split("@")[0])]
    values = [o for o in parsed if o not in groups and not o.key_or_group.startswith(("hydra.", "recipe.", "run"))]
    if not values:
        return
    choices = [o.input_line for o in groups if o.input_line]
    plain = loader.load_configuration(config_name, choices, RunMode.RUN)
    for override in values:
        key = override.key_or_group
        if "." not in key and key not in plain:  # +key= adds anything, and nothing would read it
            raise UserError(f"{key}: there is no such group or key.{nearest(key, map(str, plain))}")
        default, value = OmegaConf.select(plain, key), OmegaConf.select(config, key)
        if not is_of_kind(value, default):
            raise UserError(f"{key}={value}: it takes {KINDS[type(_plain(default))]}.")


def is_of_kind(value: Any, default: Any) -> bool:
    """Whether a value may replace a default: the same type, or a default that stands for any ("auto", null)."""
    value, default = _plain(value), _plain(default)
    if default is None or default == "auto" or type(default) not in KINDS or value is None:
        return True
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, str):  # the words 1998 and 2012 are numbers to YAML
        return isinstance(value, str | int) and not isinstance(value, bool)
    return type(value) is type(default)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _launched_from_outside() -> bool:
    """Whether torchrun or SLURM started several of us (Lightning hands its own processes the run directory)."""
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    slurm = os.environ.get("SLURM_NTASKS", "1") != "1" and os.environ.get("SLURM_JOB_NAME") not in (
        "bash",
        "interactive",
    )
    return torchrun or slurm
