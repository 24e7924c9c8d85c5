"""The networks by name, for Python: `build("resnet50", num_classes=10)`; with their weights: `lineage.build`.

A name is a file of conf/arch, as on the command line, and so are the arguments. What such a file takes from a run
(`${datamodule.num_classes}`, `${recipe.dropout}`) is an argument here, or else the default of the network's class.
"""

from __future__ import annotations

import fnmatch
import inspect
import typing
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from lineage import plugins
from lineage.archs.arguments import ArchitectureError
from lineage.text import nearest

if TYPE_CHECKING:
    from lineage.archs.network import Network

FOLDERS = [Path(__file__).parents[1] / "conf", *plugins.config_folders()]  # with arch/NAME.yaml
PLAIN = (str, int, float, list)  # arguments that others may be computed from


def names(pattern: str = "*") -> list[str]:
    """The names of all networks, sorted; `pattern` as for file names, "*cifar*"."""
    found = {path.stem for folder in FOLDERS for path in (folder / "arch").glob("*.yaml")}
    return sorted(name for name in found if fnmatch.fnmatchcase(name, pattern))


def add_config_dir(folder: str | Path) -> None:
    """Read the networks of a folder of your own too, as `--config-dir` does: FOLDER/arch/NAME.yaml."""
    FOLDERS.insert(0, Path(folder))
    read.cache_clear()


def build(
    name: str,
    num_classes: int | None = None,
    in_channels: int | None = None,
    *,
    resolution: int | None = None,
    **arguments: Any,
) -> Network:
    """A network in training mode with random weights; its class and conf/arch/NAME.yaml document its arguments.

    Args:
        name: one of `names()`; "timm" takes any of timm's by `model_name`.
        num_classes, in_channels: None is the paper's; 0 classes make a network of features, (B, num_features).
        resolution: pixels of the images' sides: below 96, a network that has a stem for small images uses it.
        arguments: any other of the network's.

    Raises:
        ArchitectureError: there is no such network, argument or value; images of this resolution are too small.
    """
    from lineage.archs.network import check_contract  # imports torch

    given = {"num_classes": num_classes, "in_channels": in_channels}
    arguments |= {key: value for key, value in given.items() if value is not None}
    defaults, _ = configured(name, resolution, arguments)
    known = parameters(name)
    for key in arguments:
        if key not in known:
            near = nearest(key, known) if key != "pretrained" else f" lineage.build({name!r}, pretrained=...) has."
            raise ArchitectureError(f"{name} has no argument {key}.{near}")
    network = target(name)(**defaults | arguments)
    check_contract(network)
    if resolution is not None and resolution < network.min_size:
        raise ArchitectureError(f"{name} needs images of at least {network.min_size} pixels; {resolution} are too few.")
    return network


def configured(name: str, resolution: int | None, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments in conf/arch/NAME.yaml, computed from these, and `published`. Raises ArchitectureError: no file."""
    if name not in names():
        raise ArchitectureError(f"{name}: there is no such network.{nearest(name, names())}")
    plain = {key: value for key, value in arguments.items() if isinstance(value, PLAIN)}
    given = {"arch": plain, "datamodule": {} if resolution is None else {"resolution": resolution}}
    cfg = typing.cast(DictConfig, OmegaConf.merge({"published": {}}, read(name), given))
    return _resolved(cfg.arch), _container(cfg.published)


@cache
def read(name: str) -> DictConfig:
    """conf/arch/NAME.yaml over the files that its `defaults` name: `arch` and `published`."""
    file = next(path for folder in FOLDERS if (path := folder / "arch" / f"{name}.yaml").exists())
    own = typing.cast(DictConfig, OmegaConf.load(file))
    parents = [parent for parent in own.pop("defaults", []) if parent != "_self_"]
    return typing.cast(DictConfig, OmegaConf.merge(*map(read, parents), own))


def _resolved(arch: DictConfig) -> dict[str, Any]:
    """The arguments in a file, without those that it takes from a run."""
    values = {}
    for key in arch:
        with suppress(InterpolationKeyError):
            values[str(key)] = _container(arch[key])
    del values["_target_"]
    return values


def _container(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def target(name: str) -> Callable[..., Network]:
    """The class, or the function, that builds a network."""
    module, _, attribute = str(read(name).arch._target_).rpartition(".")
    found: Callable[..., Network] = getattr(import_module(module), attribute)
    return found


def parameters(name: str) -> list[str]:
    """Names of the arguments of a network."""
    return list(inspect.signature(target(name)).parameters)


# ${if_equal:${arch.variant},2012,227,224}
OmegaConf.register_new_resolver("if_equal", lambda a, b, then, other: then if str(a) == str(b) else other, replace=True)


def scaled_side(side: int, *, _root_: DictConfig) -> int:
    """Pixels of an image's side, times gamma^phi and resolution_mult for a network that has these arguments."""
    arch = _root_.get("arch") or {}
    return round(side * arch.get("resolution_mult", 1.0) * arch.get("gamma", 1.0) ** arch.get("phi", 0.0))


OmegaConf.register_new_resolver("scaled_side", scaled_side, replace=True)  # ${scaled_side:224}

# The stem of networks that have one for small images: cifar below 96 pixels, otherwise and without a size imagenet.
OmegaConf.register_new_resolver(
    "stem_of", lambda side: "cifar" if side is not None and side < 96 else "imagenet", replace=True
)
