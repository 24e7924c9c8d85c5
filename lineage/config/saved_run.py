"""The config of a run that a command names, which may come from elsewhere: it may build classes of this project, and of
packages that the user trusts."""

import copy
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from lineage import plugins
from lineage.config.overrides import overridden_keys
from lineage.config.sources import defined_in
from lineage.errors import UserError
from lineage.recipes.recipe import Recipe
from lineage.running import directory
from lineage.sweeps.jobs import find_run

ROOMS = {"arch": "lineage.archs.", "datamodule": "lineage.datamodules."}


def trusted_packages(cfg: DictConfig) -> list[str]:
    """The packages that this command, the user's own conf or an installed entry point names."""
    return [*(cfg.get("plugins") or ()), *plugins.installed()]


def check_target(path: Path, group: str, node: DictConfig, packages: Collection[str]) -> None:
    """Raise UserError unless a config from a file builds one class, of this project or of these packages.

    Hydra calls whatever `_target_` names, be it torch.hub.load or pathlib.Path.touch.
    """
    values: Any = OmegaConf.to_container(node, resolve=False)
    targets = list(_targets(values))
    if isinstance(values, dict) and targets == [values.get("_target_")] and _may_build(group, targets[0], packages):
        return
    foreign = next((t for t in targets if not _may_build(group, t, packages)), targets[-1] if targets else "nothing")
    package = str(foreign).partition(".")[0]
    raise UserError(
        f"{path} asks to build {foreign} as {group}; a file may name classes of this project and of trusted packages.\n"
        f"If you know the package {package} and trust it, say so: 'plugins=[{package}]'"
    )


def _may_build(group: str, target: Any, packages: Collection[str]) -> bool:
    places = (ROOMS[group], *(f"{package}." for package in packages))
    return str(target).startswith(places) and defined_in(str(target)) is not None


def _targets(values: Any) -> Iterator[Any]:
    if isinstance(values, dict):
        if "_target_" in values:
            yield values["_target_"]
        for value in values.values():
            yield from _targets(value)
    elif isinstance(values, list):
        for value in values:
            yield from _targets(value)


def with_runs(cfg: DictConfig) -> list[DictConfig]:
    """As with_run, for each run of an evaluation that names several. Raises UserError: they have other images."""
    if not OmegaConf.is_list(cfg.run):
        if cfg.soup:
            raise UserError("soup=true: it averages the weights of several runs, 'run=[a,b,c]'.")
        return [with_run(cfg)]
    cfgs = []
    for name in cfg.run:
        one = copy.deepcopy(cfg)
        one.run = str(name)
        cfgs.append(with_run(one))
        same = ("datamodule", "arch") if cfg.soup else ("datamodule",)
        if other := next((group for group in same if cfgs[0][group] != cfgs[-1][group]), None):
            raise UserError(f"run=[{cfg.run[0]},{name},...]: they have not the same {other}.")
        if cfg.soup:  # their last weights are averaged already
            cfgs[-1].recipe.ema = cfgs[-1].recipe.swa = 0
    return cfgs


def with_run(cfg: DictConfig) -> DictConfig:
    """A new config with the network, data, recipe and weights of the run that `run` names; what the command gives takes
    precedence.

    A run's directory may come from elsewhere: only classes of this project, and of trusted packages, are built.

    Raises:
        UserError: there is no such run, it has saved no weights, its config is damaged or asks to build something
            else; nothing to evaluate.
    """
    if cfg.run is None:
        if cfg.pretrained is None:
            verb = HydraConfig.get().job.config_name
            raise UserError(f"Nothing to {verb}: name run=NAME, or weights: pretrained=timm, torchvision or a file.")
        return cfg
    if not directory.is_name(str(cfg.run)):
        raise UserError(f"run={cfg.run}: it is a name below {cfg.runs}/; another place is runs=FOLDER.")
    if cfg.pretrained is not None:
        raise UserError("run=NAME and pretrained=: both name weights; give one of them.")
    keys = overridden_keys()
    if "experiment" in keys:
        raise UserError("run=NAME experiment=: the run has its own network, data and recipe; another is named alone.")
    folder = find_run(Path(str(cfg.runs)), str(cfg.run))
    saved, merged = directory.read_config(folder / "config.yaml"), copy.deepcopy(cfg)
    with open_dict(merged):
        for group in ("arch", "datamodule", "recipe", "published"):
            if group in keys or group not in saved:
                continue
            if group in ("arch", "datamodule"):
                check_target(folder / "config.yaml", group, saved[group], trusted_packages(cfg))
            elif group == "recipe":
                saved[group] = OmegaConf.merge(OmegaConf.structured(Recipe), saved[group])
            merged[group] = saved[group]
        for key in keys:
            if "." in key:
                OmegaConf.update(merged, key, OmegaConf.select(cfg, key))
        merged.checkpoint = cfg.checkpoint or saved.get("test_weights", "last")
        file = folder / "checkpoints" / f"{merged.checkpoint}.ckpt"
        if not file.is_file():
            raise UserError(f"run={cfg.run}: it has no {file.relative_to(folder)}; it has saved no such weights yet.")
        merged.pretrained = str(file)
    return merged
