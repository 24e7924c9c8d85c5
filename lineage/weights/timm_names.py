"""The names that timm has for our modules, in tables such as those of lineage/weights/torchvision_names.py."""

from lineage.weights.torchvision_names import DENSENET, INCEPTION_V3, RESNET, V3_STEM, VGG_FEATURES, conv_norm, each

VGG = VGG_FEATURES | {"head.2": "pre_logits.fc1 7x7", "head.5": "pre_logits.fc2 1x1", "head.8": "head.fc"}

# ---- SE-ResNet (legacy_seresnet, the authors' weights), ResNet v2

SE_RESNET = RESNET | {
    **conv_norm("stem.0", "layer0.conv1", "layer0.bn1"),
    "stages.{s}.{b}.se.reduce": "layer{s+1}.{b}.se_module.fc1",
    "stages.{s}.{b}.se.expand": "layer{s+1}.{b}.se_module.fc2",
    "head.linear": "last_linear",
}
PREACT_RESNET = {"stem.0": "stem.conv", "last.norm": "norm", "head.linear": "head.fc 1x1"}
for ours, theirs in {
    "act.norm": "norm1", "branch.1.norm": "norm2", "branch.3.norm": "norm3",
    "branch.0": "conv1", "branch.2": "conv2", "branch.4": "conv3", "shortcut": "downsample.conv",
}.items():  # fmt: skip
    PREACT_RESNET[f"stages.{{s}}.{{b}}.{ours}"] = f"stages.{{s}}.blocks.{{b}}.{theirs}"

# ---- MobileNet, EfficientNet. The blocks of the first stage have no expansion.

BLOCK = "blocks.{s}.{b}"
MOBILENET = {
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
MOBILENET_V1 = {
    **conv_norm("stem", "conv_stem", "bn1"),
    **conv_norm("stages.{s}.{b}.depthwise", f"{BLOCK}.conv_dw", f"{BLOCK}.bn1"),
    **conv_norm("stages.{s}.{b}.pointwise", f"{BLOCK}.conv_pw", f"{BLOCK}.bn2"),
    "head.linear": "classifier",
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

# ---- Inception v4, Inception-ResNet v2

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
    **each(zip(V3_STEM, V2_STEM, strict=True)),  # their stems are Inception v3's
    **each((f"stem.7.{ours}", f"mixed_5b.{theirs}") for ours, theirs in CHAINS),
    **each((f"stages.1.0.{ours}", f"mixed_6a.{theirs}") for ours, theirs in CHAINS),
    **each((f"stages.2.0.{ours}", f"mixed_7a.{theirs}") for ours, theirs in TO_MIXED_7A),
    **each([("stages.2.11", "conv2d_7b")]),
    "head.linear": "classif",
}
for ours, theirs in {
    "stages.0.{b}": "repeat.{b}", "stages.1.{b}": "repeat_1.{b-1}",
    "stages.2.10": "block8", "stages.2.{b}": "repeat_2.{b-1}",
}.items():  # fmt: skip
    INCEPTION_RESNET_V2 |= each((f"{ours}.branches.{mine}", f"{theirs}.{name}") for mine, name in CHAINS)
    INCEPTION_RESNET_V2[f"{ours}.project"] = f"{theirs}.conv2d"

# ---- NASNet-A (6 @ 4032)

SEPARABLE = {
    0: "separable_1.depthwise_conv2d", 1: "separable_1.pointwise_conv2d", 2: "bn_sep_1",
    4: "separable_2.depthwise_conv2d", 5: "separable_2.pointwise_conv2d", 6: "bn_sep_2",
}  # fmt: skip
NASNET_INPUTS = {
    "squeeze.0": "conv_1x1.conv", "squeeze.1": "conv_1x1.bn",
    "previous.0": "conv_prev_1x1.conv", "previous.1": "conv_prev_1x1.bn",
    "previous.even": "path_1.conv", "previous.odd": "path_2.conv", "previous.norm": "final_path_bn",
}  # fmt: skip
NASNET_A = {**each([("stem", "conv0")]), "head.linear": "last_linear"}
for ours, theirs in {
    "stages.0.0": "cell_stem_0", "stages.1.0": "cell_stem_1", "stages.1.{b}": "cell_{b-1}",
    "stages.2.0": "reduction_cell_0", "stages.2.{b}": "cell_{b+5}",
    "stages.3.0": "reduction_cell_1", "stages.3.{b}": "cell_{b+11}",
}.items():  # fmt: skip
    NASNET_A |= {f"{ours}.{mine}": f"{theirs}.{name}" for mine, name in NASNET_INPUTS.items()}
    for side in ("left", "right"):
        mine, name = f"{ours}.combine.{{r}}.{side}.operation", f"{theirs}.comb_iter_{{r}}_{side}"
        NASNET_A |= {f"{mine}.{layer}": f"{name}.{part}" for layer, part in SEPARABLE.items()}

TABLES = (
    VGG, RESNET, SE_RESNET, PREACT_RESNET, DENSENET, MOBILENET_V1, MOBILENET, XCEPTION,
    INCEPTION_V3, INCEPTION_V4, INCEPTION_RESNET_V2, NASNET_A,
)  # fmt: skip
