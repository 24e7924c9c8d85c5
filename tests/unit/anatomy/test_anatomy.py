"""Tables and drawings of networks: receptive fields against published ones, notation, structure, and layout."""

import functools
import itertools
import random
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest
import torch
from doors import finished, refused
from networks import build, channels_of, configs, first_row
from PIL import Image
from torch import nn
from torch.nn import functional as F

from docs import lineage
from docs.papers import families
from lineage.anatomy import structure
from lineage.anatomy.cost import count_costs, count_macs, count_parameters
from lineage.anatomy.drawing import key
from lineage.anatomy.drawing import svg as drawing
from lineage.anatomy.drawing.captions import group_blocks
from lineage.anatomy.drawing.cells import paint_cells
from lineage.anatomy.drawing.layout import Drawing, lay_out
from lineage.anatomy.drawing.page import FONT, HEIGHT, WIDTH, Page, overlap
from lineage.anatomy.drawing.placing import Scale, Wire
from lineage.anatomy.graph import Window, union
from lineage.anatomy.table import Anatomy, dissect
from lineage.anatomy.trace import trace
from lineage.archs.blocks import SqueezeExcite
from lineage.archs.branches import Branches
from lineage.archs.genotype import options, parse, word


@functools.cache
def anatomy(config: str, resolution: int = 224) -> Anatomy:
    return dissect(build(config, device="meta"), channels_of(config), resolution)


def side_of(config: str) -> int:
    row = first_row(config)
    return row.input_size if row else 224


# Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), the table of
# architectures; DenseNet, NASNet and the pre-activation networks are not in it. Theirs are TF-slim's networks:
# - its ResNets have the stride in the last unit of a stage instead of the first bottleneck's 1x1 (the paper's), which
#   comes to the same. With the stride in the 3x3 (v1.5, our default), that convolution sees the map before the stride:
#   the first 3x3 of stages 2 to 4 adds 8, 16, 32 pixels instead of 16, 32, 64, so 56 less: 427, 971, 1451.
# - its alexnet_v2 is the network of one tower; groups change nothing here.
KNOWN_FIELDS = {
    "alexnet": 195, "alexnet arch.variant=2014": 195, "vgg16": 212, "mobilenet_v1": 315,
    "mobilenet_v1 arch.width_mult=0.75": 315, "inception_v3": 1311, "inception_v4": 2071, "inception_resnet_v2": 3039,
    "resnet50 arch.stride_in_1x1=true": 483, "resnet101 arch.stride_in_1x1=true": 1027,
    "resnet152 arch.stride_in_1x1=true": 1507, "resnet50": 483 - 56, "resnet101": 1027 - 56, "resnet152": 1507 - 56,
    # By hand: the stem sees 3; then per stage kernel, stride, layers, each layer adding (kernel - 1) x jump:
    # 3,1,1: +4; 3,2,2: +4 +8; 5,2,2: +16 +32; 3,2,3: +16 +32 +32; 5,1,3: +64 x 3; 5,2,4: +64 +128 x 3; 3,1,1: +64.
    "efficientnet_b0": 3 + 4 + 12 + 48 + 80 + 192 + 448 + 64,
    # C1 5, S2 +1, C3 +4 x 2, S4 +1 x 2, C5 +4 x 4
    "lenet5": 32,
}  # fmt: skip


@pytest.mark.parametrize(("config", "pixels"), KNOWN_FIELDS.items())
def test_receptive_fields(config, pixels):
    assert anatomy(config, 299 if "inception" in config else 32 if config == "lenet5" else 224).field == pixels


def test_receptive_field_has_a_gradient():
    """The receptive field of a pixel of the last map is the pixels of the image from which it has a gradient."""
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
    """A dilated convolution, a gate, every second pixel from the second on, and padding on one side."""

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
    assert trace(nn.MaxPool2d(3, dilation=2, padding=1), 3, 12).nodes[-1].field == ((3, -1, 3), (3, -1, 3))
    assert union([(Window(1, -1, 1),), (Window(2, -3, 2),), (Window(1, -4, 0),)]) == ((2, -4, 2),)
    assert union([None, (Window(),)]) is None


class Attention(nn.Module):
    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)[:, None].contiguous()  # (B, 1, N, 3), as fused attention wants it
        return F.scaled_dot_product_attention(tokens, tokens[:, :, :8], tokens[:, :, :8])


def test_costs_by_hand():
    """Of 16 queries and 8 keys, 3 wide; of a convolution with gaps; of one in groups; of a layer that runs twice."""
    assert count_macs(Attention(), 3, 4) == 16 * 8 * (3 + 3)
    assert count_macs(nn.Conv2d(3, 4, 3, dilation=2), 3, 8) == 4 * 4 * 4 * 27
    grouped, shared = nn.Conv2d(6, 4, 3, groups=2), nn.Conv2d(3, 3, 1)
    assert count_costs(grouped, 6, 8) == (36 * 4 * 27, 36 * 4)
    assert count_parameters(nn.Sequential(shared, nn.ReLU(), shared)) == 12
    assert count_costs(nn.Sequential(shared, nn.ReLU(), shared), 3, 8) == (2 * 64 * 9, 2 * 64 * 3)


@pytest.mark.parametrize(
    ("config", "stage", "text"),
    [
        ("resnet50", "stage 1", "[1x1, 64; 3x3, 64; 1x1, 256] x 3"),
        ("resnext50_32x4d", "stage 1", "[1x1, 128; 3x3, 128, C=32; 1x1, 256] x 3"),
        ("efficientnet_b0", "stage 3", "[1x1, 144; 5x5 dw, 144; SE; 1x1, 40]\n[1x1, 240; 5x5 dw, 240; SE; 1x1, 40]"),
        ("vgg16_bn arch.se=true", "stage 2", "3x3, 256, SE x 3\nmax pool 2x2/2"),
        ("densenet121", "stage 4", "1x1, 512\navg pool 2x2/2\n[1x1, 128; 3x3, 32] x 16"),
        ("alexnet", "stage 1", "5x5, 256, C=2\nmax pool 3x3/2"),
        ("lenet5 arch.variant=1998", "head", "linear 84\nradial basis"),
        (
            "googlenet",  # Table 1 of the paper
            "stage 3",
            "max pool 3x3/2\n"
            "   1x1 | 1x1, 3x3 | 1x1, 5x5 | max 3x3, 1x1\n"
            "5a 256 | 160, 320 |  32, 128 |          128\n"
            "5b 384 | 192, 384 |  48, 128 |          128",
        ),
        ("inception_v4", "stage 1", "[1x1 96 | 1x1 64, 3x3 96 | 1x1 64, 3x3 96, 3x3 96 | avg 3x3, 1x1 96] x 4"),
        ("googlenet arch.aux_heads=true", "aux", "in training only: [avg 5x5; 1x1, 128; linear 1024; linear 1000] x 2"),
        (
            "nasnet_a_mobile",
            "stage 3",
            "reduction cell (sep 5x5, sep 7x7, max 3x3, avg 3x3, identity, sep 3x3)\n"
            "normal cell (sep 3x3, avg 3x3, sep 5x5, identity) x 4",
        ),
        ("timm arch.model_name=convnext_atto", "stage 2", "2x2/2, 80\n[7x7 dw, 80; 1x1, 320; 1x1, 80] x 2"),
        ("timm", "layer4", "[3x3, 512; 3x3, 512] x 2"),
    ],
)
def test_notation(config, stage, text):
    """A stage as the paper's table prints it."""
    assert {row.name: row.operator for row in anatomy(config, side_of(config)).rows}[stage] == text


def test_structure():
    """A fork within a fork, as in Figure 7 of Inception v2."""
    table = [["1x1 4"], ["1x1 4", [["1x3 4"], ["3x1 4"]]], ["max", "1x1 4"]]
    nodes = trace(Branches(3, table), 3, 8).nodes[1:]
    series = structure.arrange(nodes)
    assert len(series) == 1 and len(series[0].branches) == 3 and not series[0].bare
    assert structure.describe(series) == "1x1 | 1x1, (1x3 | 3x1) | max 3x3, 1x1"


def test_auxiliary_heads():
    """They are in the table and in the drawing, but of the sums only the parameters count them."""
    plain, found = anatomy("googlenet"), anatomy("googlenet arch.aux_heads=true")
    assert (found.macs, found.depth, found.field) == (plain.macs, plain.depth, plain.field)
    assert found.parameters == 13_378_280
    nodes = [slab.node for slab in drawn("googlenet arch.aux_heads=true").slabs if slab.node.auxiliary]
    assert [node.channels for node in nodes if node.has_weights] == [128, 1024, 1000] * 2


@pytest.mark.parametrize("config", [config for config in configs() if first_row(config) is None])
def test_networks_outside_the_golden_table(config):
    """Networks of a formula, such as EfficientNet's scaling, and timm's models."""
    found = anatomy(config)
    assert found.parameters > 0 and found.macs > 0 and drawn(config).slabs


DRAWN = [
    "lenet5 arch.variant=1998", "alexnet", "vgg16", "googlenet arch.aux_heads=true", "inception_v4",
    "resnet50", "resnet152", "densenet121", "nasnet_a_mobile", "efficientnet_b0", "xception",
]  # fmt: skip


@functools.cache
def drawn(config: str) -> Drawing:
    return lay_out(anatomy(config, side_of(config)), lambda lines: 500.0 - 28 * lines)


@pytest.mark.parametrize("config", DRAWN)
def test_texts_are_readable(config):
    """No two texts overlap, all are on the page, and none is smaller than 18 points on a slide."""
    page = drawing.draw(anatomy(config, side_of(config)), config)
    boxes = list(page.texts)
    for i, box in enumerate(boxes):
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT, page.texts[box]
        over = [page.texts[other] for other in boxes[i + 1 :] if overlap(box, other)]
        assert not over, (page.texts[box], over)
    sizes = [float(size) for mark in page.marks for size in re.findall(r'font-size="([\d.]+)"', mark)]
    assert min(sizes) >= FONT and FONT * 960 / WIDTH >= 18  # a slide is 960 points wide


@pytest.mark.parametrize("config", DRAWN)
def test_drawing_is_to_scale(config):
    """Widths are square roots of channels, heights those of resolutions, and no two slabs overlap."""
    look = drawn(config)
    for slab in look.slabs:
        if slab.node.side != (1, 1):
            assert slab.width == pytest.approx(look.scale.channel * slab.maps**0.5)
            assert slab.height == pytest.approx(look.scale.pixel * slab.node.side[0] ** 0.5)
        else:
            assert slab.height == pytest.approx(look.scale.channel * slab.maps**0.5)
    boxes = [(s.x + 0.01, s.y - s.height / 2 + 0.01, s.x + s.width, s.y + s.height / 2) for s in look.slabs]
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(-look.canvas.up - 0.1 <= box[1] and box[3] <= look.canvas.down + 0.1 for box in boxes)


@pytest.mark.parametrize("config", DRAWN)
def test_key_names_every_kernel(config):
    nodes = [slab.node for slab in drawn(config).slabs if slab.node.kind == "conv"]
    text = " ".join(words for row in key.rows(nodes) for _, words in row)
    assert all(structure.kernel_text(node) in text for node in nodes)
    assert ("depthwise" in text) == any(node.depthwise for node in nodes)


def test_folding():
    """Equal neighbours form a group, of which one block is drawn, and no block is lost."""
    found = anatomy("resnet152")
    groups = group_blocks(found)
    assert [len(group.run) for group in groups if len(group.run) > 1] == [2, 7, 35, 2]
    assert sum(len(group.run) for group in groups) == sum(len(row.blocks) for row in found.rows)
    texts = drawing.draw(found, "").texts.values()
    assert {"x2", "x7", "x35", "x3", "x8", "x36"} == {text for text in texts if re.fullmatch(r"x\d+", text)}


def test_key_is_to_scale():
    page = Page("")
    key.paint_scale(page, Scale(1.0, 2.0), 0.0, 0.0)
    assert [re.search(r' width="(\d+)"', mark)[1] for mark in page.marks if "<rect" in mark] == ["8", "16", "32", "64"]


def test_paper_names():
    assert list(drawn("lenet5 arch.variant=1998").names.values()) == ["C1", "S2", "C3", "S4", "C5", "F6", "output"]
    assert list(drawn("googlenet").names.values()) == "3a 3b 4a 4b 4c 4d 4e 5a 5b".split()


def test_towers():
    """Each of AlexNet's rows has half the maps. They cross where the paper's GPUs exchange maps: conv3, fc6, fc7."""
    look = drawn("alexnet")
    towers = [slab for slab in look.slabs if slab.node.index in look.names and slab.y != 0]
    assert [slab.maps for slab in towers if slab.y < 0] == [48, 48, 128, 128, 192, 192, 128, 128, 2048, 2048]
    wires = [wire.points for wire in look.items(Wire)]
    ends = {end[0] for start, end in wires if start[1] * end[1] < 0}
    found = [look.names[slab.node.index] for slab in towers if slab.x in ends and slab.y < 0]
    assert found == ["conv3", "fc6", "fc7"]


def test_growth():
    """A caption of DenseNet-121 states what the block concatenates, and the size before the transition."""
    captions = {band.caption.name: band.caption.size for band in drawn("densenet121").bands}
    assert captions["block 1"][0].startswith("56x56") and captions["block 1"][-1] == "64 + 6x32"
    assert captions["block 4"][-1] == "512 + 16x32"


def assert_inside(page: Page) -> None:
    """Texts, and all points of rectangles, circles and paths, are on the page."""
    boxes = list(page.texts)
    for mark in page.marks:
        at = {key: float(value) for key, value in re.findall(r' (x|y|cx|cy|r|width|height)="([\d.-]+)"', mark)}
        if mark.startswith("<rect"):
            boxes.append((at["x"], at["y"], at["x"] + at["width"], at["y"] + at["height"]))
        elif mark.startswith("<circle"):
            boxes.append((at["cx"] - at["r"], at["cy"] - at["r"], at["cx"] + at["r"], at["cy"] + at["r"]))
        elif mark.startswith("<path"):
            boxes += [(float(x), float(y)) * 2 for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", mark.split('"')[1])]
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= WIDTH and b[3] <= HEIGHT for b in boxes)


KINDS = ("normal cell", "reduction cell")


def test_cells_of_any_search():
    """100 pairs of cells, of 1 to 8 blocks: all on the page, each operation once, no text on another."""
    draws = random.Random(0)
    for number in range(100):
        tables = parse(word([draws.choice(each) for each in options(1 + number % 8)]))
        pair = dict(zip(KINDS, tables, strict=True))
        page = Page("cells")
        assert paint_cells(page, pair, drawing.TOP) < HEIGHT / 2 + 80
        assert_inside(page)
        blocks = [block for table in pair.values() for block in table.blocks]
        names = [structure.operation_text(n) for b in blocks for n in (b.left_operation, b.right_operation)]
        written = Counter(page.texts.values())
        assert written == Counter(names) + Counter([*pair, "h[i]", "h[i-1]"] + ["h[i]", "h[i-1]"])
        assert not any(overlap(a, b) for a, b in itertools.combinations(page.texts, 2))


CELLS = {
    "identities": "0identity+1identity-0identity+1identity",
    "one unused state": "0sep3+1sep3_0sep3.2conv1x7-0sep3+1sep3_0dil3+2sep3",
    "an output that is not the last state": "0sep3+1sep3_0sep3+1sep3_0conv1.1max3_2-0max3+1max3_0",
}


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_networks_of_any_cells(cells):
    found = anatomy(f"nasnet_cell arch.cells={cells}", 32)
    assert found.cells == dict(zip(KINDS, parse(cells), strict=True))
    assert_inside(drawing.draw(found, "cells"))
    assert "reduction cell (" in found.rows[2].operator


def test_files(tmp_path):
    """Two drawings of a network have the same bytes; the PNG has the size of a slide."""
    found = anatomy("resnet18")
    files = [tmp_path / "once" / "a.svg", tmp_path / "again" / "a.svg", tmp_path / "a.png"]
    drawing.write(found, "ResNet-18", files)
    assert files[0].read_bytes() == files[1].read_bytes()
    ElementTree.parse(files[0])
    with Image.open(files[2]) as image:
        assert image.size == (WIDTH, HEIGHT) and len(image.convert("RGB").getcolors(10**6)) > 10


def test_lineage_is_current():
    """The stored drawing is up to date, and has every family and, below it, each idea with those it was taken from."""
    page = lineage.draw()
    assert lineage.FILES[0].read_text() == page.svg(), "stale: make docs"
    texts = {text: box for box, text in page.texts.items()}
    assert texts["gates on channels (ResNet, ResNeXt, BN-Inception)"][1] > texts["SE"][3] > texts["NASNet"][3]
    assert {family.short or family.title for family in families()} <= set(texts)
    assert sum(" (" in text for text in texts) == sum(len(lineage.ideas(family)) for family in families())
    assert not any(overlap(a, b) for a, b in itertools.combinations(page.texts, 2))


def test_describe(tmp_path):
    words = "arch=efficientnet arch.phi=1 datamodule=imagenet output=out/net".split()
    out = finished(tmp_path, "describe", *words).stdout
    assert "9,109,994" in out and "efficientnet_b2" in out and max(map(len, out.splitlines())) <= 120
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"net.svg", "net.png"}


def test_too_small_an_image_is_refused(tmp_path):
    said = refused(tmp_path, "describe", *"arch=vgg16 datamodule=imagenet resolution=16".split())
    assert "VGG needs images of at least 32x32" in said and not list(tmp_path.iterdir())
