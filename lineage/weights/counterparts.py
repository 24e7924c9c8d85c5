"""Names of weights, ours and those of torchvision and timm: a table per family and library.

A row maps a module of ours to a module of theirs; `{b}` is any number and may be shifted, so `"stages.{s}.{b}"` to
`"layer{s+1}.{b}"` sends stages.0.2 to layer1.2. The first row that fits a module is its row; a module without a row has
no counterpart. A shape after a name ("head.fc 1x1") is that of the convolution which they have for our linear layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

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


# ---- AlexNet, VGG. The flat numbers of VGG's layers depend on its depth: see `flattened`.

ALEXNET = {
    "stem.0": "features.0",
    "stages.0.0.conv": "features.3",
    **{f"stages.1.{i}.conv": f"features.{6 + 2 * i}" for i in range(3)},
    "head.3": "classifier.1",
    "head.6": "classifier.4",
    "head.8": "classifier.6",
}
VGG_FEATURES = {"flat.{i}": "features.{i}"}
VGG_TORCHVISION = VGG_FEATURES | {"head.2": "classifier.0", "head.5": "classifier.3", "head.8": "classifier.6"}
VGG_TIMM = VGG_FEATURES | {"head.2": "pre_logits.fc1 7x7", "head.5": "pre_logits.fc2 1x1", "head.8": "head.fc"}

# ---- ResNet, ResNeXt, wide bottlenecks; SE-ResNet (timm's legacy_seresnet, the authors' weights); ResNet v2

RESNET = {
    **conv_norm("stem.0", "conv1", "bn1"),
    **conv_norm("stages.{s}.{b}.conv{k}", "layer{s+1}.{b}.conv{k}", "layer{s+1}.{b}.bn{k}"),
    **conv_norm("stages.{s}.{b}.shortcut", "layer{s+1}.{b}.downsample.0", "layer{s+1}.{b}.downsample.1"),
    "head.linear": "fc",
}
SE_RESNET = RESNET | {
    **conv_norm("stem.0", "layer0.conv1", "layer0.bn1"),
    "stages.{s}.{b}.se.reduce": "layer{s+1}.{b}.se_module.fc1",
    "stages.{s}.{b}.se.expand": "layer{s+1}.{b}.se_module.fc2",
    "head.linear": "last_linear",
}
PREACT_RESNET = {
    "stem.0": "stem.conv",
    "stages.{s}.{b}.act.norm": "stages.{s}.blocks.{b}.norm1",
    "stages.{s}.{b}.branch.0": "stages.{s}.blocks.{b}.conv1",
    "stages.{s}.{b}.branch.1.norm": "stages.{s}.blocks.{b}.norm2",
    "stages.{s}.{b}.branch.2": "stages.{s}.blocks.{b}.conv2",
    "stages.{s}.{b}.branch.3.norm": "stages.{s}.blocks.{b}.norm3",
    "stages.{s}.{b}.branch.4": "stages.{s}.blocks.{b}.conv3",
    "stages.{s}.{b}.shortcut": "stages.{s}.blocks.{b}.downsample.conv",
    "last.norm": "norm",
    "head.linear": "head.fc 1x1",
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

# ---- MobileNet, EfficientNet. The blocks of the first stage have no expansion.

BLOCK = "blocks.{s}.{b}"
MOBILENET_TIMM = {
    **conv_norm("stem", "conv_stem", "bn1"),
    **conv_norm("stages.0.{b}.depthwise", "blocks.0.{b}.conv_dw", "blocks.0.{b}.bn1"),
    **conv_norm("stages.0.{b}.project", "blocks.0.{b}.conv_pw", "blocks.0.{b}.bn2"),
    **conv_norm("stages.{s}.{b}.expand", f"{BLOCK}.conv_pw", f"{BLOCK}.bn1"),
    **conv_norm("stages.{s}.{b}.depthwise", f"{BLOCK}.conv_dw", f"{BLOCK}.bn2"),
    **conv_norm("stages.{s}.{b}.project", f"{BLOCK}.conv_pwl", f"{BLOCK}.bn3"),
    "stages.{s}.{b}.se.reduce": f"{BLOCK}.se.conv_reduce",
    "stages.{s}.{b}.se.expand": f"{BLOCK}.se.conv_expand",
    **conv_norm("last", "conv_head", "bn2"),
    "head.linear": "classifier",
}
MOBILENET_V1_TIMM = {
    **conv_norm("stem", "conv_stem", "bn1"),
    **conv_norm("stages.{s}.{b}.depthwise", f"{BLOCK}.conv_dw", f"{BLOCK}.bn1"),
    **conv_norm("stages.{s}.{b}.pointwise", f"{BLOCK}.conv_pw", f"{BLOCK}.bn2"),
    "head.linear": "classifier",
}
MOBILENET_V2_TORCHVISION = {
    **conv_norm("stem", "features.0.0", "features.0.1"),
    **conv_norm("stages.0.0.depthwise", "features.1.conv.0.0", "features.1.conv.0.1"),
    **conv_norm("stages.0.0.project", "features.1.conv.1", "features.1.conv.2"),
    **conv_norm("last", "features.18.0", "features.18.1"),
    "head.linear": "classifier.1",
}
for stage, first in enumerate((2, 4, 7, 11, 14, 17), start=1):  # blocks before it, of 1, 2, 3, 4, 3, 3, 1; and the stem
    ours, theirs = f"stages.{stage}.{{b}}", f"features.{{b+{first}}}.conv"
    MOBILENET_V2_TORCHVISION |= {
        **conv_norm(f"{ours}.expand", f"{theirs}.0.0", f"{theirs}.0.1"),
        **conv_norm(f"{ours}.depthwise", f"{theirs}.1.0", f"{theirs}.1.1"),
        **conv_norm(f"{ours}.project", f"{theirs}.2", f"{theirs}.3"),
    }
MBCONV = "features.{s+1}.{b}.block"
EFFICIENTNET_TORCHVISION = {
    **conv_norm("stem", "features.0.0", "features.0.1"),
    **conv_norm("stages.0.{b}.depthwise", "features.1.{b}.block.0.0", "features.1.{b}.block.0.1"),
    "stages.0.{b}.se.reduce": "features.1.{b}.block.1.fc1",
    "stages.0.{b}.se.expand": "features.1.{b}.block.1.fc2",
    **conv_norm("stages.0.{b}.project", "features.1.{b}.block.2.0", "features.1.{b}.block.2.1"),
    **conv_norm("stages.{s}.{b}.expand", f"{MBCONV}.0.0", f"{MBCONV}.0.1"),
    **conv_norm("stages.{s}.{b}.depthwise", f"{MBCONV}.1.0", f"{MBCONV}.1.1"),
    "stages.{s}.{b}.se.reduce": f"{MBCONV}.2.fc1",
    "stages.{s}.{b}.se.expand": f"{MBCONV}.2.fc2",
    **conv_norm("stages.{s}.{b}.project", f"{MBCONV}.3.0", f"{MBCONV}.3.1"),
    **conv_norm("last", "features.8.0", "features.8.1"),
    "head.linear": "classifier.1",
}

# ---- Xception

XCEPTION = {
    **conv_norm("stem.0", "conv1", "bn1"),
    **conv_norm("stem.1", "conv2", "bn2"),
    **{f"stages.2.{i}.depthwise": f"conv{i + 2}.conv1" for i in (1, 2)},
    **{f"stages.2.{i}.pointwise.conv": f"conv{i + 2}.pointwise" for i in (1, 2)},
    **{f"stages.2.{i}.pointwise.norm": f"bn{i + 2}" for i in (1, 2)},
    "head.linear": "fc",
}
for ours, theirs, layers in (
    ("stages.0.0", "block1", {0: 0, 2: 3}),  # of layers: ours to theirs, which count normalisations; no ReLU in front
    ("stages.0.{b}", "block{b+1}", {1: 1, 3: 4}),
    ("stages.1.{b}", "block{b+4}", {1: 1, 3: 4, 5: 7}),
    ("stages.2.0", "block12", {1: 1, 3: 4}),
):
    XCEPTION |= conv_norm(f"{ours}.shortcut", f"{theirs}.skip", f"{theirs}.skipbn")
    for layer, place in layers.items():
        XCEPTION |= {
            f"{ours}.layers.{layer}.depthwise": f"{theirs}.rep.{place}.conv1",
            f"{ours}.layers.{layer}.pointwise.conv": f"{theirs}.rep.{place}.pointwise",
            f"{ours}.layers.{layer}.pointwise.norm": f"{theirs}.rep.{place + 1}",
        }

# ---- Inception v3 and v4, Inception-ResNet v2

DOUBLE_3X3 = {f"2.{i}": f"branch3x3dbl_{i + 1}" for i in range(3)}
FIGURE_5 = {"0.0": "branch1x1", "1.0": "branch5x5_1", "1.1": "branch5x5_2", **DOUBLE_3X3, "3.1": "branch_pool"}
FIGURE_6 = {
    "0.0": "branch1x1",
    **{f"1.{i}": f"branch7x7_{i + 1}" for i in range(3)},
    **{f"2.{i}": f"branch7x7dbl_{i + 1}" for i in range(5)},
    "3.1": "branch_pool",
}
FIGURE_7 = {
    "0.0": "branch1x1",
    "1.0": "branch3x3_1",
    "1.1.branches.0.0": "branch3x3_2a",
    "1.1.branches.1.0": "branch3x3_2b",
    "2.0": "branch3x3dbl_1",
    "2.1": "branch3x3dbl_2",
    "2.2.branches.0.0": "branch3x3dbl_3a",
    "2.2.branches.1.0": "branch3x3dbl_3b",
    "3.1": "branch_pool",
}
TO_17 = {"0.0": "branch3x3", **{f"1.{i}": f"branch3x3dbl_{i + 1}" for i in range(3)}}
TO_8 = {"0.0": "branch3x3_1", "0.1": "branch3x3_2", **{f"1.{i}": f"branch7x7x3_{i + 1}" for i in range(4)}}
MIXED = {
    **{f"stages.0.{i}": (f"Mixed_5{letter}", FIGURE_5) for i, letter in enumerate("bcd")},
    "stages.1.0": ("Mixed_6a", TO_17),
    **{f"stages.1.{i}": (f"Mixed_6{letter}", FIGURE_6) for i, letter in enumerate("bcde", start=1)},
    "stages.2.0": ("Mixed_7a", TO_8),
    **{f"stages.2.{i}": (f"Mixed_7{letter}", FIGURE_7) for i, letter in enumerate("bc", start=1)},
}
V3_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
INCEPTION_V3 = {
    **each(zip(("stem.0", "stem.1", "stem.2", "stem.4", "stem.5"), V3_STEM, strict=True)),
    **each(
        (f"{ours}.branches.{branch}", f"{theirs}.{name}")
        for ours, (theirs, branches) in MIXED.items()
        for branch, name in branches.items()
    ),
    **each([("aux.reduce", "AuxLogits.conv0"), ("aux.conv", "AuxLogits.conv1")]),
    "aux.head.linear": "AuxLogits.fc",
    "head.linear": "fc",
}

CHAINS = [("branches.0.0", "branch0"), *((f"branches.{i}.{{l}}", f"branch{i}.{{l}}") for i in (1, 2, 3))]
V4_C = {"0.0": "branch0", "1.0": "branch1_0", **{f"2.{i}": f"branch2_{i}" for i in range(3)}, "3.1": "branch3.1"}
V4_C |= {f"{i}.{i * 2 - 1}.branches.{j}.0": f"branch{i}_{i * 2 - 1}{'ab'[j]}" for i in (1, 2) for j in (0, 1)}
INCEPTION_V4 = {
    **each([("stem.3.branches.1.0", "features.3.conv"), ("stem.5.branches.0.0", "features.5.conv")]),
    **each((f"stem.4.branches.{i}.{{l}}", f"features.4.branch{i}.{{l}}") for i in (0, 1)),
    **each([("stem.{l}", "features.{l}")]),
    **each((f"stages.2.0.branches.{i}.{{l}}", f"features.18.branch{i}.{{l}}") for i in (0, 1)),
    **each((f"stages.2.{{b}}.branches.{ours}", f"features.{{b+18}}.{theirs}") for ours, theirs in V4_C.items()),
    **each((f"stages.0.{{b}}.{ours}", f"features.{{b+6}}.{theirs}") for ours, theirs in CHAINS),
    **each((f"stages.1.{{b}}.{ours}", f"features.{{b+10}}.{theirs}") for ours, theirs in CHAINS),
    "head.linear": "last_linear",
}
V2_STEM = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a")
TO_MIXED_7A = [(f"branches.{i}.{{l}}", f"branch{i}.{{l}}") for i in (0, 1, 2)]
INCEPTION_RESNET_V2 = {
    **each(zip(("stem.0", "stem.1", "stem.2", "stem.4", "stem.5"), V2_STEM, strict=True)),
    **each((f"stem.7.{ours}", f"mixed_5b.{theirs}") for ours, theirs in CHAINS),
    **each((f"stages.1.0.{ours}", f"mixed_6a.{theirs}") for ours, theirs in CHAINS),
    **each((f"stages.2.0.{ours}", f"mixed_7a.{theirs}") for ours, theirs in TO_MIXED_7A),
    **each([("stages.2.11", "conv2d_7b")]),
    "head.linear": "classif",
}
for ours, theirs in (
    ("stages.0.{b}", "repeat.{b}"),
    ("stages.1.{b}", "repeat_1.{b-1}"),
    ("stages.2.10", "block8"),
    ("stages.2.{b}", "repeat_2.{b-1}"),
):
    INCEPTION_RESNET_V2 |= each((f"{ours}.branches.{mine}", f"{theirs}.{name}") for mine, name in CHAINS)
    INCEPTION_RESNET_V2[f"{ours}.project"] = f"{theirs}.conv2d"

# ---- NASNet-A (6 @ 4032)

SEPARABLE = {
    0: "separable_1.depthwise_conv2d",
    1: "separable_1.pointwise_conv2d",
    2: "bn_sep_1",
    4: "separable_2.depthwise_conv2d",
    5: "separable_2.pointwise_conv2d",
    6: "bn_sep_2",
}
NASNET_A = {**each([("stem", "conv0")]), "head.linear": "last_linear"}
for ours, theirs in {
    "stages.0.0": "cell_stem_0",
    "stages.1.0": "cell_stem_1",
    "stages.1.{b}": "cell_{b-1}",
    "stages.2.0": "reduction_cell_0",
    "stages.2.{b}": "cell_{b+5}",
    "stages.3.0": "reduction_cell_1",
    "stages.3.{b}": "cell_{b+11}",
}.items():
    NASNET_A |= {
        f"{ours}.squeeze.0": f"{theirs}.conv_1x1.conv",
        f"{ours}.squeeze.1": f"{theirs}.conv_1x1.bn",
        f"{ours}.previous.0": f"{theirs}.conv_prev_1x1.conv",
        f"{ours}.previous.1": f"{theirs}.conv_prev_1x1.bn",
        f"{ours}.previous.even": f"{theirs}.path_1.conv",
        f"{ours}.previous.odd": f"{theirs}.path_2.conv",
        f"{ours}.previous.norm": f"{theirs}.final_path_bn",
    }
    for side in ("left", "right"):
        mine, name = f"{ours}.combine.{{r}}.{side}.operation", f"{theirs}.comb_iter_{{r}}_{side}"
        NASNET_A |= {f"{mine}.{layer}": f"{name}.{part}" for layer, part in SEPARABLE.items()}

# By library: the tables that are tried in turn. A network's is the first that has a row for all of its modules.
TABLES: dict[str, list[Names]] = {
    "torchvision": [
        ALEXNET,
        VGG_TORCHVISION,
        RESNET,
        DENSENET,
        MOBILENET_V2_TORCHVISION,
        EFFICIENTNET_TORCHVISION,
        INCEPTION_V3,
    ],
    "timm": [
        VGG_TIMM,
        RESNET,
        SE_RESNET,
        PREACT_RESNET,
        DENSENET,
        MOBILENET_V1_TIMM,
        MOBILENET_TIMM,
        XCEPTION,
        INCEPTION_V3,
        INCEPTION_V4,
        INCEPTION_RESNET_V2,
        NASNET_A,
    ],
}


def their_names(tensors: Mapping[str, Tensor], library: str) -> dict[str, str] | None:
    """Our names of tensors to those of `library` ("torchvision" or "timm"), or None: it has no such network.

    A shape may follow the name, after a space: theirs is a convolution, ours a linear layer.
    """
    modules = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    flat = flattened(modules)
    for table in TABLES[library]:
        rows = [(_pattern(ours), theirs) for ours, theirs in table.items()]
        found = {module: _their_name(flat[module], rows) for module in modules}
        if all(found.values()):
            return {name: _joined(str(found[name.rpartition(".")[0]]), name) for name in tensors}
    return None


def flattened(modules: Iterable[str]) -> dict[str, str]:
    """Number the layers of a VGG through, as `flat.{i}`; other names stay.

    Its stages are rows of layers, each closed by a ReLU and a pooling, which own no weights: "stages.0.0" of VGG-16 is
    the sixth layer.
    """
    names, start, last = {}, 0, 0
    stage = None
    for module in modules:
        match = re.fullmatch(r"(stem|stages\.\d+)\.(\d+)", module)
        if match is None:
            names[module] = module
            continue
        if stage is not None and match[1] != stage:
            start += last + 3  # the last layer with weights, its ReLU, the pooling
        stage, last = match[1], int(match[2])
        names[module] = f"flat.{start + last}"
    is_vgg = set(modules) - set(names) == set() and {"head.2", "head.5", "head.8"} <= set(names)
    return names if is_vgg else {module: module for module in names}


def _pattern(ours: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(ours)))


def _their_name(module: str, rows: Iterable[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, theirs in rows:
        if numbers := pattern.fullmatch(module):
            return re.sub(r"\{(\w)([+-]\d+)?\}", lambda m: str(int(numbers[m[1]]) + int(m[2] or 0)), theirs)
    return None


def _joined(theirs: str, name: str) -> str:
    module, _, shape = theirs.partition(" ")
    kind = name.rpartition(".")[2]
    return f"{module}.{kind} {shape}" if shape and kind == "weight" else f"{module}.{kind}"
