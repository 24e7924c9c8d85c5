"""The configs of a sweep's jobs: each choice of groups is composed once, and a job's values are set in a copy."""

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict


class JobConfigs:
    """Composes the config of a job from its words, a tenth of a second the first time and milliseconds afterwards.

    Args:
        loader: Hydra's loader of configs.
        sweep: the config of the sweep's command.
    """

    def __init__(self, loader: Any, sweep: DictConfig) -> None:
        self.loader, self.sweep = loader, sweep
        self.parser = OverridesParser.create(config_loader=loader)
        self.composed = lru_cache(maxsize=32)(self._compose)

    def of(self, words: Sequence[str]) -> tuple[DictConfig, DictConfig]:
        """A job's config, and the node `hydra` that belongs to it. Raises HydraException: a word that it cannot use."""
        parsed = self.parser.parse_overrides(list(words))
        values = [override for override in parsed if self._is_value(override)]
        config, hydra = self.composed(*(str(other.input_line) for other in parsed if not self._is_value(other)))
        config = copy.deepcopy(config)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        hydra.overrides.task = list(words)
        return config, hydra

    def _is_value(self, override: Override) -> bool:
        """Whether it surely sets a value only: seed=1, recipe.lr=0.1. What else there is, Hydra decides."""
        group, _, key = override.key_or_group.partition(".")
        return group in self.sweep and (key != "" or group not in self.sweep.hydra.runtime.choices)

    def _compose(self, *words: str) -> tuple[DictConfig, DictConfig]:
        config = self.loader.load_sweep_config(self.sweep, list(words))
        config.run = self.sweep.run  # its own names choices, which Hydra knows in a job alone
        with open_dict(config):
            return config, config.pop("hydra")
