"""A class, called from Python, makes its paper's network: a YAML states all its arguments, with the same defaults."""

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
from doors import ROOT
from omegaconf import OmegaConf

from lineage.archs import catalogue

FILES = [file for file in sorted((ROOT / "conf" / "arch").glob("*.yaml")) if "\ndefaults: " not in file.read_text()]
NAMES = sorted({file.stem for file in FILES} - {"timm"})  # other files say how they differ from one of these


def plain(value: Any) -> Any:
    """A list for any sequence."""
    return [plain(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


@pytest.mark.parametrize("name", NAMES)
def test_yaml_repeats_python(name):
    arch = catalogue.read(name).arch
    parameters = inspect.signature(catalogue.target(name)).parameters.values()
    assert {one.name for one in parameters} <= set(arch)
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    own = {key for key in arch if not OmegaConf.is_interpolation(arch, key)} & defaults.keys()
    own -= {"share_first"}  # false in the files, since the weights that timm has need it
    assert not {key for key in own if plain(arch[key]) != plain(defaults[key])}
