"""Classes and functions, called from Python with what their paper names, make its networks; YAML repeats them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from networks import rows, uninitialised
from omegaconf import OmegaConf

from lineage.anatomy.cost import count_parameters
from lineage.archs import (
    alexnet,
    bn_inception,
    catalogue,
    densenet,
    efficientnet,
    googlenet,
    inception_resnet,
    inception_v2,
    inception_v3,
    inception_v4,
    lenet,
    mobilenet,
    nasnet,
    preact_resnet,
    resnet,
    resnext,
    vgg,
    wideresnet,
    xception,
)

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
MADE: dict[str, Callable[[], torch.nn.Module]] = {  # by the name of their row in the table of counts
    "lenet5": lenet.LeNet5,
    "alexnet": alexnet.AlexNet,
    "googlenet": googlenet.GoogLeNet,
    "bn_inception": bn_inception.BNInception,
    "inception_v2": inception_v2.InceptionV2,
    "inception_v3": inception_v3.InceptionV3,
    "inception_v4": inception_v4.InceptionV4,
    "inception_resnet_v1": inception_resnet.inception_resnet_v1,
    "inception_resnet_v2": inception_resnet.inception_resnet_v2,
    "resnet50": partial(resnet.ResNet, **resnet.VARIANTS["resnet50"]),
    "resnet_cifar arch.depth=20": partial(resnet.resnet_cifar, 20),
    "resnet_cifar arch.depth=110": partial(resnet.resnet_cifar, 110),
    "preact_resnet_cifar arch.depth=110": partial(preact_resnet.preact_resnet_cifar, 110),
    "preact_resnet_cifar arch.depth=164": partial(preact_resnet.preact_resnet_cifar, 164),
    "resnext29 arch.cardinality=8 arch.base_width=64": resnext.resnext29,
    "wideresnet": wideresnet.WideResNet,
    "wideresnet arch.depth=16 arch.widen_factor=8": partial(wideresnet.WideResNet, 16, 8),
    "densenet_bc arch.depth=100 arch.growth_rate=12": partial(densenet.densenet_bc, 100, 12),
    "densenet_cifar arch.depth=40 arch.growth_rate=12": partial(densenet.densenet_cifar, 40, 12),
    "xception": xception.Xception,
    "mobilenet_v1": mobilenet.MobileNetV1,
    "mobilenet_v2": mobilenet.MobileNetV2,
    "nasnet_a_mobile": nasnet.NASNet,
    "nasnet_a_cifar": partial(nasnet.NASNet, **nasnet.VARIANTS["nasnet_a_cifar"]),
    "efficientnet_b0": efficientnet.EfficientNet,
}


@pytest.mark.parametrize("config", MADE)
def test_count_from_python(config):
    with torch.device("meta"), uninitialised():
        network = MADE[config]()
    assert count_parameters(network) == next(row for row in rows() if row.config == config).params


# What conf/arch states otherwise than the paper, and than the name of the file.
DEPARTURES = {
    "lineage.archs.airbench.Airbench": {"whiten_bias_share"},  # rounded
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
    other = {key for key in own if plain(arch[key]) != plain(expected[key])}
    assert other == DEPARTURES.get(arch["_target_"], set())


def test_every_variant_has_a_file():
    assert {name for table in TABLES.values() for name in table} <= set(catalogue.names())
