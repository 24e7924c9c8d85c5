"""What the config needs before it is composed: the types of the recipe (other groups take those of their YAML), and the
two functions that conf/arch computes resolutions with."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from recipes.recipe import Recipe

ConfigStore.instance().store(name="schema", package="recipe", node=Recipe)

# ${if_equal:${arch.variant},2012,227,224}
OmegaConf.register_new_resolver("if_equal", lambda a, b, then, other: then if str(a) == str(b) else other, replace=True)

# arXiv 1905.11946, section 3.3: a unit of phi multiplies the resolution by gamma = 1.15
OmegaConf.register_new_resolver("compound_resolution", lambda phi: round(224 * 1.15**phi), replace=True)
