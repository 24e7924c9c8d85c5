"""What the config needs before it is composed: the types of the recipe and of the keys beside the groups, and the
functions that conf/arch computes with. The groups' own types are the signatures of their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from recipes.recipe import Recipe

ConfigStore.instance().store(name="schema", package="recipe", node=Recipe)

# ${if_equal:${arch.variant},2012,227,224}
OmegaConf.register_new_resolver("if_equal", lambda a, b, then, other: then if str(a) == str(b) else other, replace=True)

# arXiv 1905.11946, section 3.3: a unit of phi multiplies the resolution by gamma = 1.15
OmegaConf.register_new_resolver("compound_resolution", lambda phi: round(224 * 1.15**phi), replace=True)

# The stem of networks that have one for small images: that of CIFAR below 96 pixels. No size is ImageNet's.
OmegaConf.register_new_resolver(
    "stem_of", lambda side: "cifar" if side is not None and side < 96 else "imagenet", replace=True
)

Side = Annotated[int, "1 <= x <= 8192"]  # pixels


@dataclass
class Keys:
    """The keys beside the groups, of all doors: running/checks.py reads these types, as it reads signatures."""

    pretrained: str | None
    freeze: str | None
    seed: Annotated[int, "0 <= x < 2**32"]
    test_weights: Literal["last", "best"]
    runs: str
    run: str | None
    checkpoint: Literal["last", "best"]
    split: Literal["test", "val", "train"]
    resolution: Side | None
    crop: Annotated[float, "0 < x <= 1"] | None
    output: str
