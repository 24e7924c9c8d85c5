"""The names that torchvision has for our modules, a table for each family; lineage/weights/counterparts.py reads them.

A row maps a module of ours to a module of theirs. `{b}` is any number and may be shifted: `"stages.{s}.{b}"` to
`"layer{s+1}.{b}"` maps stages.0.2 to layer1.2. The first row that fits a module applies; a module without a row has
no counterpart. The shape after a name ("head.fc 1x1") is the kernel of a convolution that does what our linear layer
does.
"""

from collections.abc import Iterable

Names = dict[str, str]


def conv_norm(ours: str, conv: str, norm: str) -> Names:
    """The rows of a ConvNormAct."""
    return {f"{ours}.conv": conv, f"{ours}.norm": norm}


def each(pairs: Iterable[tuple[str, str]], kinds: tuple[str, str] = ("conv", "bn")) -> Names:
    """The rows of ConvNormActs whose two halves have the names `kinds` there."""
    rows: Names = {}
    for ours, theirs in pairs:
        rows |= conv_norm(ours, f"{theirs}.{kinds[0]}", f"{theirs}.{kinds[1]}")
    return rows


# ---- AlexNet, VGG. counterparts.py numbers VGG's layers through (`flat.{i}`), as theirs are.

ALEXNET = {
    "stem.0": "features.0", "stages.0.0.conv": "features.3",
    "stages.1.0.conv": "features.6", "stages.1.1.conv": "features.8", "stages.1.2.conv": "features.10",
    "head.3": "classifier.1", "head.6": "classifier.4", "head.8": "classifier.6",
}  # fmt: skip
VGG_FEATURES = {"flat.{i}": "features.{i}"}
VGG = VGG_FEATURES | {"head.2": "classifier.0", "head.5": "classifier.3", "head.8": "classifier.6"}

# ---- ResNet, ResNeXt, wide bottlenecks

RESNET = {
    **conv_norm("stem.0", "conv1", "bn1"),
    **conv_norm("stages.{s}.{b}.conv{k}", "layer{s+1}.{b}.conv{k}", "layer{s+1}.{b}.bn{k}"),
    **conv_norm("stages.{s}.{b}.shortcut", "layer{s+1}.{b}.downsample.0", "layer{s+1}.{b}.downsample.1"),
    "head.linear": "fc",
}

# ---- DenseNet

LAYER = "features.denseblock{s+1}.denselayer{l}"
DENSENET = {
    **conv_norm("stem.0", "features.conv0", "features.norm0"),
    **conv_norm("stages.{s}.{l}.conv{k}", f"{LAYER}.conv{{k}}", f"{LAYER}.norm{{k}}"),
    **conv_norm("stages.{s}.0.0", "features.transition{s}.conv", "features.transition{s}.norm"),
    "last.norm": "features.norm5",
    "head.linear": "classifier",
}

# ---- MobileNet v2, EfficientNet. The blocks of the first stage have no expansion.

NUMBERS = ("0", "1")
MOBILENET_V2 = {
    **each([("stem", "features.0"), ("stages.0.0.depthwise", "features.1.conv.0"), ("last", "features.18")], NUMBERS),
    **conv_norm("stages.0.0.project", "features.1.conv.1", "features.1.conv.2"),
    "head.linear": "classifier.1",
}
for stage, first in enumerate((2, 4, 7, 11, 14, 17), start=1):  # blocks before it, of 1, 2, 3, 4, 3, 3, 1; and the stem
    ours, theirs = f"stages.{stage}.{{b}}", f"features.{{b+{first}}}.conv"
    MOBILENET_V2 |= each([(f"{ours}.expand", f"{theirs}.0"), (f"{ours}.depthwise", f"{theirs}.1")], NUMBERS)
    MOBILENET_V2 |= conv_norm(f"{ours}.project", f"{theirs}.2", f"{theirs}.3")
EFFICIENTNET = each([("stem", "features.0"), ("last", "features.8")], NUMBERS) | {"head.linear": "classifier.1"}
for ours, theirs, depthwise in (  # its place in the block
    ("stages.0.{b}", "features.1.{b}.block", 0),
    ("stages.{s}.{b}", "features.{s+1}.{b}.block", 1),
):
    convolutions = {"expand": 0, "depthwise": depthwise, "project": depthwise + 2}
    EFFICIENTNET |= {
        **each(((f"{ours}.{name}", f"{theirs}.{place}") for name, place in convolutions.items()), NUMBERS),
        f"{ours}.se.reduce": f"{theirs}.{depthwise + 1}.fc1",
        f"{ours}.se.expand": f"{theirs}.{depthwise + 1}.fc2",
    }

# ---- Inception v3

DOUBLE_3X3 = {f"2.{i}": f"branch3x3dbl_{i + 1}" for i in range(3)}
FIGURE_5 = {"0.0": "branch1x1", "1.0": "branch5x5_1", "1.1": "branch5x5_2", **DOUBLE_3X3, "3.1": "branch_pool"}
FIGURE_6 = {"0.0": "branch1x1", **{f"1.{i}": f"branch7x7_{i + 1}" for i in range(3)}, "3.1": "branch_pool"}
FIGURE_6 |= {f"2.{i}": f"branch7x7dbl_{i + 1}" for i in range(5)}
FIGURE_7 = {
    "0.0": "branch1x1", "1.0": "branch3x3_1", "2.0": "branch3x3dbl_1", "2.1": "branch3x3dbl_2", "3.1": "branch_pool",
    "1.1.branches.0.0": "branch3x3_2a", "1.1.branches.1.0": "branch3x3_2b",
    "2.2.branches.0.0": "branch3x3dbl_3a", "2.2.branches.1.0": "branch3x3dbl_3b",
}  # fmt: skip
TO_17 = {"0.0": "branch3x3", **{f"1.{i}": f"branch3x3dbl_{i + 1}" for i in range(3)}}
TO_8 = {"0.0": "branch3x3_1", "0.1": "branch3x3_2", **{f"1.{i}": f"branch7x7x3_{i + 1}" for i in range(4)}}
MIXED = {
    **{f"stages.0.{i}": (f"Mixed_5{letter}", FIGURE_5) for i, letter in enumerate("bcd")},
    "stages.1.0": ("Mixed_6a", TO_17),
    **{f"stages.1.{i}": (f"Mixed_6{letter}", FIGURE_6) for i, letter in enumerate("bcde", start=1)},
    "stages.2.0": ("Mixed_7a", TO_8),
    **{f"stages.2.{i}": (f"Mixed_7{letter}", FIGURE_7) for i, letter in enumerate("bc", start=1)},
}
V3_STEM = ("stem.0", "stem.1", "stem.2", "stem.4", "stem.5")
THEIR_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
INCEPTION_V3 = {
    **each(zip(V3_STEM, THEIR_STEM, strict=True)),
    **each(
        (f"{ours}.branches.{branch}", f"{theirs}.{name}")
        for ours, (theirs, branches) in MIXED.items()
        for branch, name in branches.items()
    ),
    **each([("aux.reduce", "AuxLogits.conv0"), ("aux.conv", "AuxLogits.conv1")]),
    "aux.head.linear": "AuxLogits.fc",
    "head.linear": "fc",
}

TABLES = (ALEXNET, VGG, RESNET, DENSENET, MOBILENET_V2, EFFICIENTNET, INCEPTION_V3)
