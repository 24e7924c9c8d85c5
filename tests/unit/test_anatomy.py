"""What describe.py says of a network: receptive fields known from elsewhere, words, structure, and the drawing."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from doors import command
from networks import build, channels_of, configs, first_row
from torch import nn
from torch.nn import functional as F

from anatomy import drawing, structure
from anatomy.layout import COLUMNS, count_columns, fold, lay_out
from anatomy.table import Anatomy, dissect
from anatomy.trace import trace
from archs.blocks import SqueezeExcite
from archs.branches import Branches


@functools.cache
def anatomy(config: str, resolution: int = 224) -> Anatomy:
    return dissect(build(config, device="meta"), channels_of(config), resolution)


# Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), the table of
# architectures; DenseNet, NASNet and the pre-activation networks are not in it. Theirs are TF-slim's networks:
# - its ResNets have the stride in the last unit of a stage instead of the first bottleneck's 1x1 (the paper's), which
#   comes to the same. With the stride in the 3x3 (v1.5, our default), that convolution sees the map before the stride:
#   the first 3x3 of stages 2 to 4 adds 8, 16, 32 pixels instead of 16, 32, 64, so 56 less: 427, 971, 1451.
# - its alexnet_v2 is the network of one tower; groups change nothing here.
KNOWN_FIELDS = [
    ("alexnet", 195),
    ("alexnet arch.variant=2014", 195),
    ("vgg16", 212),
    ("mobilenet_v1", 315),
    ("mobilenet_v1 arch.width_mult=0.75", 315),
    ("inception_v3", 1311),
    ("inception_v4", 2071),
    ("inception_resnet_v2", 3039),
    ("resnet50 arch.stride_in_1x1=true", 483),
    ("resnet101 arch.stride_in_1x1=true", 1027),
    ("resnet152 arch.stride_in_1x1=true", 1507),
    ("resnet50", 483 - 56),
    ("resnet101", 1027 - 56),
    ("resnet152", 1507 - 56),
    # By hand: the stem sees 3; then per stage kernel, stride, layers, each layer adding (kernel - 1) x jump:
    # 3,1,1: +4; 3,2,2: +4 +8; 5,2,2: +16 +32; 3,2,3: +16 +32 +32; 5,1,3: +64 x 3; 5,2,4: +64 +128 x 3; 3,1,1: +64.
    ("efficientnet_b0", 3 + 4 + 12 + 48 + 80 + 192 + 448 + 64),
    # C1 5, S2 +1, C3 +4 x 2, S4 +1 x 2, C5 +4 x 4
    ("lenet5", 32),
]


@pytest.mark.parametrize(("config", "pixels"), KNOWN_FIELDS)
def test_receptive_fields(config, pixels):
    assert anatomy(config, 299 if "inception" in config else 32 if config == "lenet5" else 224).field == pixels


def test_receptive_field_is_what_changes():
    """The pixels of the image that have a gradient from one pixel of the last map are those that are counted."""
    torch.manual_seed(0)
    network = build("resnet_cifar arch.depth=8").double().eval()
    image = torch.randn(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    network.forward_features(image)[0, :, 16, 16].sum().backward()
    touched = image.grad.abs().sum((0, 1)).nonzero()
    field = next(node.field for node in reversed(trace(network, 3, 128).nodes) if node.field)
    window = field[0]
    assert (touched.min(), touched.max()) == (16 * window.jump + window.first, 16 * window.jump + window.last)


@pytest.mark.parametrize(
    ("config", "depth"), [("resnet50", 50), ("densenet121", 121), ("googlenet", 22), ("vgg19", 19)]
)
def test_depth_is_in_the_name(config, depth):
    assert anatomy(config).depth == depth


class Odd(nn.Module):
    """A map, its odd pixels, a gate from all of it, and a shift that puts zeros first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, dilation=2, padding=2)
        self.se = SqueezeExcite(4, 2)

    def forward(self, x):
        x = self.se(self.conv(x))[:, :, 1::2, 1::2]
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0)), 2, stride=1)


def test_windows():
    """Dilation, slices and padding move what a pixel sees: here pixel i sees 2 i - 3 to 2 i + 3."""
    network = Odd()
    record = trace(network, 3, 12)
    assert [node.kind for node in record.nodes] == ["image", "conv", "avg", "conv", "conv", "gate", "avg"]
    assert [node.in_gate for node in record.nodes] == [False, False, True, True, True, False, False]
    assert record.nodes[-1].field == ((2, -3, 3), (2, -3, 3))
    assert network.training  # the network is left as it was
    assert not network.conv.weight.is_meta


@pytest.mark.parametrize(
    ("config", "stage", "words"),
    [
        ("resnet50", "stage 1", "3 x bottleneck 1x1, 3x3, 1x1"),
        ("efficientnet_b0", "stage 3", "2 x MBConv 1x1, 5x5 dw, SE, 1x1"),
        ("vgg16_bn arch.se=true", "stage 2", "3 x conv 3x3, SE; max pool 2x2/2"),
        ("densenet121", "stage 4", "16 x dense layer 1x1, 3x3"),
        ("alexnet", "stage 1", "conv 5x5 (2 groups); max pool 3x3/2"),
        ("googlenet arch.aux_heads=true", "aux", "in training only"),
        ("lenet5 arch.variant=1998", "head", "linear 84; radial basis"),
        (
            "googlenet",
            "stage 3",
            "max pool 3x3/2; 2 x Inception 1x1 | 1x1, 3x3 | 1x1, 5x5 | max 3x3, 1x1",
        ),
        (
            "nasnet_a_mobile",
            "stage 3",
            "reduction cell 5x5 dw, 7x7 dw, max 3x3, avg 3x3, 3x3 dw; 4 x normal cell 3x3 dw, 5x5 dw, avg 3x3",
        ),
        ("timm arch.model_name=convnext_atto", "stage 2", "conv 2x2/2; 2 x ConvNeXtBlock 7x7 dw, 1x1, 1x1"),
        ("timm", "layer4", "2 x BasicBlock 3x3, 3x3"),
    ],
)
def test_words(config, stage, words):
    found = anatomy(config, 227 if config == "alexnet" else 32 if config.startswith("lenet") else 224)
    assert {row.name: row.operator for row in found.rows}[stage] == words


def test_structure():
    """A fork within a fork, as in Figure 7 of Inception v2."""
    table = [["1x1 4"], ["1x1 4", [["1x3 4"], ["3x1 4"]]], ["max", "1x1 4"]]
    nodes = trace(Branches(3, table), 3, 8).nodes[1:]
    series = structure.arrange(nodes)
    assert len(series) == 1 and len(series[0].branches) == 3 and not series[0].bare
    assert structure.describe(series) == "1x1 | 1x1, (1x3 | 3x1) | max 3x3, 1x1"


@pytest.mark.parametrize("config", [config for config in configs() if first_row(config) is None])
def test_networks_without_facts(config):
    """Formulas and timm's models are described too."""
    found = anatomy(config)
    assert found.parameters > 0 and found.macs > 0 and lay_out(found).slabs


def test_drawing_is_to_scale():
    look = lay_out(anatomy("vgg16"))
    maps = [slab for slab in look.slabs if slab.node.side != (1, 1) and slab.node.kind != "image"]
    for slab in maps:
        assert slab.height == pytest.approx(slab.node.side[0] * look.per_pixel)
        assert slab.width == pytest.approx(slab.node.channels * look.per_channel)


@pytest.mark.parametrize("config", ["resnet152", "inception_v4", "densenet121", "nasnet_a_mobile", "xception"])
def test_nothing_overlaps(config):
    """No two slabs of a drawing share ground, and everything is within its bounds."""
    look = lay_out(anatomy(config, 299 if "inception" in config else 224))
    for i, a in enumerate(look.slabs):
        assert -look.down <= a.y - a.height / 2 and a.y + a.height / 2 <= look.up and a.x + a.width <= look.width
        for b in look.slabs[i + 1 :]:
            beside = a.x + a.width <= b.x + 1e-6 or b.x + b.width <= a.x + 1e-6
            over = abs(a.y - b.y) >= (a.height + b.height) / 2 - 1e-6
            assert beside or over, (a, b)


def test_folding():
    """Equal neighbours are drawn once where there are too many columns; their number is kept."""
    found = anatomy("resnet152")
    groups = fold(found)
    assert [len(group.run) for group in groups if len(group.run) > 1] == [2, 7, 35, 2]
    assert sum(len(group.run) for group in groups) == sum(len(row.blocks) for row in found.rows)
    assert sum(count_columns(block) for group in groups for block in group.blocks) <= COLUMNS
    assert all(len(group.run) == 1 for group in fold(anatomy("resnet18")))


def test_files(tmp_path):
    """The same network is the same SVG, byte for byte; it is well-formed and carries its digest."""
    found = anatomy("resnet18")
    files = [tmp_path / "once" / "a.svg", tmp_path / "again" / "a.svg", tmp_path / "a.png"]
    drawing.write(found, "ResNet-18", files)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert drawing.digest(found, "ResNet-18") in files[0].read_text()
    assert drawing.digest(found, "ResNet-18") != drawing.digest(found, "ResNet-34")
    ElementTree.parse(files[0])
    assert files[2].read_bytes()[:4] == b"\x89PNG" and files[2].stat().st_size < 60_000


def test_describe(tmp_path):
    done = command(tmp_path, "describe.py", "arch=efficientnet", "arch.phi=1", "datamodule=imagenet", "output=out/net")
    assert done.returncode == 0, done.stderr
    assert "9,109,994" in done.stdout and "efficientnet_b2" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"net.svg", "net.png"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("resolution=large", "resolution=large: it takes a whole number"),
        ("arch=vgg16 datamodule=imagenet resolution=16", "VGG needs images of at least 32x32"),
        ("arch=resnet5O", "Did you mean resnet50?"),
        ("resoltion=32", "Did you mean resolution?"),
    ],
)
def test_mistakes(tmp_path, words, sentence):
    done = command(tmp_path, "describe.py", *words.split())
    assert done.returncode == 1
    assert sentence in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
