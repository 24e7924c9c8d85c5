"""Layers, bricks and tables of several networks, against the papers' own numbers."""

import csv
import math

import pytest
import torch
from doors import finished, refused
from networks import build, channels_of
from torch import nn

from docs.residual_branches import sizes
from lineage.anatomy.cost import count_macs, count_parameters
from lineage.anatomy.layers import layers
from lineage.anatomy.table import dissect
from lineage.asking.several import items, networks_of
from lineage.errors import UserError


@pytest.mark.parametrize(
    ("config", "side"), [("lenet5 arch.variant=1998", 32), ("googlenet", 224), ("efficientnet_b0", 224)]
)
def test_layers_add_up(config, side):
    """All parameters and multiply-adds are of a layer, and the formula of a layer is its multiply-adds."""
    network = build(config, device="meta")
    found = layers(network, channels_of(config), side)
    assert sum(layer.weights + layer.biases for layer in found) == count_parameters(network)
    assert sum(layer.macs for layer in found) == count_macs(network, channels_of(config), side)
    assert all(math.prod(map(int, row.formula.replace(" ", "").split("x"))) == row.macs for row in found if row.formula)


def test_parameters_of_a_layer():
    """The course's example: two 3x3 filters over three channels, 3x3x3x2 + 2 = 56."""
    (layer,) = layers(nn.Sequential(nn.Conv2d(3, 2, 3, stride=2, padding=1)), 3, 8)
    assert layer[1:] == ("3x3", "2x2", "1x1", "4x4x2", 54, 2, 54 * 16, "3x3x3x2 x 4x4")


# MobileNet, arXiv 1704.04861, Table 3, and 3a of GoogLeNet, arXiv 1409.4842, Table 1: millions as printed, but 159 K
# there, which is without the 1x1 of the pooling; here 163,328 and the normalisations. Then by hand, for 192 channels.
@pytest.mark.parametrize(
    ("config", "module", "side", "macs", "parameters"),
    [
        ("mobilenet_v1 arch.separable=false", "stages.3.1", 224, 462, 2.36),
        ("mobilenet_v1", "stages.3.1", 224, 52.3, 0.27),
        ("mobilenet_v1 arch.width_mult=0.75", "stages.3.1", 224, 29.6, 0.15),
        ("mobilenet_v1 arch.width_mult=0.75", "stages.3.1", 160, 15.1, 0.15),
        ("brick", "stages", 28, 128, 0.164),
        ("brick arch.kind=inception_naive", "stages", 28, 784 * 192 * (64 + 9 * 128 + 25 * 32) / 1e6, 0.388),
        ("brick arch.kind=5x5", "stages", 28, 784 * 25 * 192**2 / 1e6, 0.922),
        ("brick arch.kind=two_3x3", "stages", 28, 784 * 18 * 192**2 / 1e6, 0.664),
        ("brick arch.kind=convolution", "stages", 28, 784 * 9 * 192**2 / 1e6, 0.332),
        ("brick arch.kind=separable", "stages", 28, 784 * 192 * (9 + 192) / 1e6, 0.0394),
        ("brick arch.kind=bottleneck", "stages", 28, 784 * (2 * 192 * 48 + 9 * 48**2) / 1e6, 0.0397),
        ("brick arch.kind=inverted_bottleneck", "stages", 28, 784 * (12 * 192**2 + 9 * 6 * 192) / 1e6, 0.458),
        ("brick arch.kind=inception_simplified", "stages", 28, 784 * 4 * 192**2 / 1e6, 0.148),
        ("brick arch.kind=inception_reformulated", "stages", 28, 784 * 4 * 192**2 / 1e6, 0.148),
        ("brick arch.kind=inception_extreme", "stages", 28, 784 * 192 * (9 + 192) / 1e6, 0.0394),
    ],
)
def test_bricks(config, module, side, macs, parameters):
    found = layers(build(config, device="meta"), 3, side, module)
    assert sum(layer.macs for layer in found) / 1e6 == pytest.approx(macs, rel=1.5e-3)
    assert sum(layer.weights + layer.biases for layer in found) / 1e6 == pytest.approx(parameters, rel=0.02)


def test_rows_of_efficientnet():
    """Stages 2 to 8 of the paper's Table 1: the resolution of the input, channels, and layers, which are blocks."""
    everything = dissect(build("efficientnet_b0", device="meta"), 3, 224).rows
    rows = [row for row in everything if row.name[:5] == "stage"]
    table = [(112, 16, 1), (112, 24, 2), (56, 40, 2), (28, 80, 3), (14, 112, 3), (14, 192, 4), (7, 320, 1)]
    assert [(row.input[0], row.channels, row.repeats) for row in rows] == table
    assert sum(row.repeats for row in everything) == 16  # stem and head have none


def test_branches_that_start_at_zero():
    network, images = build("resnet_cifar arch.depth=20 recipe.zero_init_last=true"), torch.rand(4, 3, 32, 32)
    assert list(sizes(network, images).values()) == [0.0] * 9
    assert all(size > 0.1 for size in sizes(build("resnet_cifar arch.depth=20"), images).values())


def test_lists_of_networks():
    assert networks_of(["arch=a,b arch.x=[1,2]", "arch.y=1,2", "seed=3"]) == [
        "a arch.y=1", "a arch.y=2", "b arch.x=[1,2] arch.y=1", "b arch.x=[1,2] arch.y=2",
    ]  # fmt: skip
    assert items("[1,8]") == items("1,8") == ["1", "8"]
    with pytest.raises(UserError, match="name the networks"):
        networks_of(["arch.y=1"])


def test_table_of_networks(tmp_path):
    """SE's table: the original's error, its re-implementation's and that with SE. With an argument that changes
    nothing, ResNet-50 is still the papers'."""
    words = "-m arch=resnet50,se_resnet50 arch.groups=1 datamodule=imagenet output=tables/se".split()
    assert "28,088,024" in finished(tmp_path, "describe", *words).stdout
    plain, se = csv.DictReader((tmp_path / "tables" / "se.csv").read_text().splitlines())
    assert (plain["network"], plain["parameters"], se["top1_error"]) == ("ResNet-50", "25557032", "23.29 (single crop)")
    assert all(number in plain["top1_error"] for number in ("24.7 ", "24.80 "))
    assert "| SE-ResNet-50 | 224 | 28,088,024 | 3,860,488,192 | 50 |" in (tmp_path / "tables" / "se.md").read_text()
    said = refused(tmp_path, "describe", "arch=lenet5", "module=stage")
    assert "module=stage: there is no such part. Did you mean stages?" in said
