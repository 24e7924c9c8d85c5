"""Commands about several networks: arch=a,b arch.KEY=x,y is every network with every value."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from lineage.analysis.papers import numbers
from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.errors import UserError
from lineage.text import nearest


def items(value: str) -> list[str]:
    """The items of a,b or [a,b]. Commas within brackets are of an item: [1,2],[3,4] has two."""
    whole = re.fullmatch(r"\[([^\[\]]*)\]", value)
    return split(whole[1] if whole else value)


def split(value: str) -> list[str]:
    return re.split(r",(?![^\[]*\])", value)


def networks_of(words: Sequence[str]) -> list[str]:
    """The networks of the words arch=... and arch.KEY=..., each as words after arch=; one may have its own in quotes:
    "arch=resnet50,resnet50 arch.se=true". Raises UserError: arguments of no network."""
    names = [items(word.removeprefix("arch=")) for word in words if word.startswith("arch=")][-1:]
    arguments = [word.partition("=") for word in words if word.startswith("arch.")]
    if arguments and not names:
        word = "".join(arguments[0])
        raise UserError(f"{word}: name the networks that have it too: arch=... {word}")
    choices = [[f"{key}={item}" for item in split(value)] for key, _, value in arguments]
    return [" ".join(point) for point in product(*names, *choices)] if names else []


def in_papers(network: str, cfg: DictConfig) -> str:
    """The words by which the papers' table has a network: without arguments that it has anyway, arch.width_mult=1."""
    first, *words = network.split()
    if network in numbers() or not words:
        return network
    given = config_of(first).arch
    keys = [word.partition("=")[0].removeprefix("arch.") for word in words]
    kept = [word for word, key in zip(words, keys, strict=True) if key not in given or given[key] != cfg.arch[key]]
    shorter = " ".join([first, *kept])
    return shorter if shorter in numbers() else network


def config_of(network: str, data: Sequence[str] = ()) -> DictConfig:
    """The command's config, checked and complete, with one network and further words, those of a data set.

    Raises:
        UserError: there is no such network, or what checks finds.
    """
    hydra: Any = GlobalHydra.instance()
    loader, (first, *rest) = hydra.config_loader(), network.split() or [""]
    arch, _, model = first.partition("/")
    if arch not in (known := loader.get_group_options("arch")):
        near = nearest(arch, known) or f" There is {', '.join(known)}."
        raise UserError(f"arch={first}: there is no such network.{near}")
    typed = HydraConfig.get()
    own = [f"arch={arch}", *([f"arch.model_name={model}"] if model else []), *rest, *data]
    cfg = loader.load_configuration(typed.job.config_name, [*typed.overrides.task, *own], RunMode.RUN)
    with open_dict(cfg):
        checks(cfg, cfg.pop("hydra"))
    return complete(cfg)
