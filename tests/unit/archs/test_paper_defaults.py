"""Classes and functions, called from Python with what their paper names, make its networks; YAML repeats them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from omegaconf import OmegaConf

from lineage.archs import catalogue, densenet, efficientnet, nasnet, preact_resnet, resnet, resnext, vgg

TABLES = {
    resnet.ResNet: resnet.VARIANTS | resnext.VARIANTS,
    preact_resnet.PreActResNet: preact_resnet.VARIANTS,
    densenet.DenseNet: densenet.VARIANTS,
    nasnet.NASNet: nasnet.VARIANTS,
    vgg.VGG: {name: {"depths": depths} for name, depths in vgg.VARIANTS.items()}
    | {f"{name}_bn": {"depths": depths, "batch_norm": True} for name, depths in vgg.VARIANTS.items()},
    efficientnet.EfficientNet: {
        name: {"width_mult": width, "depth_mult": depth} for name, (width, depth, _) in efficientnet.PUBLISHED.items()
    },
}


def defaults(made: Callable[..., Any]) -> dict[str, Any]:
    own = inspect.signature(made).parameters.values()
    return {one.name: one.default for one in own if one.default is not one.empty}


def plain(value: Any) -> Any:
    """A list for any sequence."""
    return [plain(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


@pytest.mark.parametrize("name", sorted(set(catalogue.names()) - {"timm"}))
def test_yaml_repeats_python(name):
    """What conf/arch states, and does not take from the run, is the table's of variants, or the default."""
    arch = catalogue.read(name).arch
    made = catalogue.target(name)
    expected = defaults(made) | TABLES.get(made, {}).get(name, {})
    own = {key for key in arch if not OmegaConf.is_interpolation(arch, key)} & expected.keys()
    assert not {key for key in own if plain(arch[key]) != plain(expected[key])}


def test_every_variant_has_a_file():
    assert {name for table in TABLES.values() for name in table} <= set(catalogue.names())
