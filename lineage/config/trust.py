"""Which classes the config in a file may build: those of this project, and of packages that the user trusts."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lineage import plugins
from lineage.config.sources import defined_in
from lineage.errors import UserError

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
