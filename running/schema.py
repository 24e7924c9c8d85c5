"""The types of the config, for Hydra: the recipe's. The other groups take the types of their YAML."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from recipes.recipe import Recipe

ConfigStore.instance().store(name="schema", package="recipe", node=Recipe)
