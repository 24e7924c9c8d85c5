"""Every claim about every network: what test_archs.py checks on one member of each family, and compilation."""

import checks
import pytest
import torch
from networks import build, configs, family
from oracles import CLASSES, build_oracle, case, cases
from porting import disagreement
from torch import nn

pytestmark = pytest.mark.proofs

ONE_A_FILE = {family(config): config for config in reversed(configs()) if config != "timm"}.values()
GATED = [
    ("vgg16_bn arch.se=true", case("vgg16_bn", "torchvision", "vgg16_bn")),
    ("bn_inception arch.se=true", case("bn_inception", "pytorchcv", "bninception")),
    ("inception_resnet_v2 arch.se=true", case("inception_resnet_v2", "timm", "inception_resnet_v2")),
    ("resnet50 arch.se=true", case("resnet50", "torchvision", "resnet50")),
    ("resnext50_32x4d arch.se=true", case("resnext50_32x4d", "torchvision", "resnext50_32x4d")),
]


def is_timms(compared):
    """Whether timm has the network; its VGGs hand on maps before the pooling, ours after it."""
    return compared.source == "timm" and not compared.name.startswith("vgg")


@pytest.mark.parametrize("compared", cases(), ids=str)
def test_logits(compared):
    checks.check_logits(compared)


@pytest.mark.parametrize("compared", [compared for compared in cases() if is_timms(compared)], ids=str)
def test_intermediates(compared):
    checks.check_intermediates(compared)


@pytest.mark.parametrize("config", ONE_A_FILE)
def test_recomputation(config):
    checks.check_recomputation(config)


@pytest.mark.parametrize(("config", "plain"), GATED, ids=[config for config, _ in GATED])
def test_gates(config, plain):
    checks.check_gates(config, plain)


def test_inception_resnet_v1_features():
    """pytorchcv's (facenet's) has another head, and a sixth block at the end; all else is the paper's."""
    compared = case("inception_resnet_v1", "pytorchcv", "inceptionresnetv1")
    torch.manual_seed(0)
    ours, oracle = build(compared.config, num_classes=CLASSES).double(), build_oracle(compared).double()
    ours.head, oracle.output, oracle.features.final_pool = nn.Flatten(1), nn.Identity(), nn.Identity()
    oracle.features.stage3.unit7 = nn.Identity()
    images = checks.noise(2, 3, compared.image, compared.image, dtype=torch.float64)
    found = disagreement(ours, oracle, images, order={}, our_order={})
    assert all(found[what] < checks.TOLERANCE[what] for what in checks.TOLERANCE), found


@pytest.mark.parametrize("config", configs())
def test_learns(config):
    checks.check_learns(config)


@pytest.mark.parametrize("config", configs())
def test_formats(config):
    checks.check_formats(config)


@pytest.mark.parametrize("config", configs())
def test_export(config):
    checks.check_export(config)


@pytest.mark.parametrize("config", configs())
def test_compile(config):
    checks.check_compile(config)
