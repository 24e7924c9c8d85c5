"""The public implementations that our networks are compared with, and the settings that each comparison needs."""

import re
from dataclasses import dataclass, field

from networks import rows
from porting import Order
from torch import nn

CLASSES = 10  # of both networks; 1000 would prove no more


@dataclass(frozen=True)
class Case:
    """One comparison: our `arch=<config>` against `source`'s `name`."""

    config: str
    source: str
    name: str
    image: int = 64
    order: Order = field(default_factory=dict)
    our_order: Order = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.config} | {self.source} {self.name}"


def build_oracle(case: Case) -> nn.Module:
    aux_heads = "aux_heads=true" in case.config
    if case.source == "torchvision":
        import torchvision

        options = {"aux_logits": aux_heads, "init_weights": False} if case.name.startswith("inception") else {}
        return torchvision.models.get_model(case.name, weights=None, num_classes=CLASSES, **options)
    if case.source == "timm":
        import timm

        options = {"aux_logits": aux_heads} if case.name == "inception_v3" else {}
        return timm.create_model(case.name, pretrained=False, num_classes=CLASSES, **options)
    from pytorchcv.model_provider import get_model

    network = get_model(case.name, pretrained=False, num_classes=CLASSES)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.AvgPool2d) and module.kernel_size in (7, 8, 10, 11):  # the size of the last map
            network.set_submodule(name, nn.AdaptiveAvgPool2d(1))
    return network


# In the golden table for their number of parameters, though they compute another function.
NOT_EQUAL: dict[tuple[str, str], str] = {
    ("pytorchcv", "wrn50_2"): "exported with batch normalisation folded into the convolutions",
    ("pytorchcv", "inceptionresnetv1"): "another head, see test_inception_resnet_v1_features",
    ("pytorchcv", "mobilenetv2b_w1"): "a classifier without bias",
    **{
        ("pytorchcv", f"preresnet{name}"): "BN and ReLU between the stem's convolution and its pooling"
        for name in ("18", "34", "50b", "101b", "152b")
    },
    **{
        ("pytorchcv", f"efficientnet_b{phi}b"): "TensorFlow's padding; torchvision and timm pad both sides equally"
        for phi in range(8)
    },
}

UNIT = r"features\.stage\d+\.unit\d+"  # pytorchcv's name for a residual block
LAST_PROJECTION = {UNIT: ["body", "se", "identity_conv"]}
SECOND_PROJECTION = {UNIT: ["body.conv1.bn", "identity_conv", "body.conv1.conv", "body.conv2", "body.conv3"]}
LAST_DOWNSAMPLE = {r"layer\d\.\d+": ["se_module", "downsample"]}
CURRENT_FIRST = {r"(?:reduction_)?cell_\d+": ["conv_1x1", "path_1", "path_2", "final_path_bn", "conv_prev_1x1"]}
EPS = "arch.norm_eps=1e-5"

# Source, pattern of the oracle's name, settings; the first match counts.
SETTINGS: list[tuple[str, str, dict]] = [
    ("pytorchcv", r"alexnetb|vgg\d+", {"image": 224}),
    ("pytorchcv", r"resnet\d+_cifar10", {"words": "arch.shortcut=B", "image": 16, "order": LAST_PROJECTION}),
    ("pytorchcv", r"resnext29_.*", {"image": 16, "order": LAST_PROJECTION}),
    ("pytorchcv", r"resnet\d+b?|resnext\d+_\d+x\d+d", {"order": LAST_PROJECTION}),
    ("pytorchcv", r"seresne.*", {"words": "arch.ceil_pool=false", "order": LAST_PROJECTION}),
    ("pytorchcv", r"wrn28_10_cifar10", {"image": 16, "order": SECOND_PROJECTION}),
    (
        "pytorchcv",
        r"preresnet110_cifar10",
        {"words": "arch.shortcut=B arch.share_first=false", "image": 16, "order": SECOND_PROJECTION},
    ),
    ("pytorchcv", r"preresnet(164bn|1001)_cifar10", {"image": 16, "order": SECOND_PROJECTION}),
    ("pytorchcv", r"densenet.*_bc_cifar10", {"image": 16}),
    ("timm", r"mobilenetv1_100", {"words": f"arch.act=relu6 {EPS}"}),
    ("torchvision|timm|pytorchcv", r"mobilenet.*", {"words": EPS}),
    ("timm", r"legacy_seresne.*", {"order": LAST_DOWNSAMPLE}),
    ("timm", r"legacy_xception", {"words": EPS}),
    ("timm", r"efficientnet_b\d", {"words": EPS}),
    ("torchvision", r"efficientnet_b[0-4]", {"words": EPS}),
    ("pytorchcv", r"xception", {"words": EPS, "order": {UNIT: ["body", "identity_conv"]}}),
    ("torchvision|timm|pytorchcv", r"inception.*", {"image": 139}),
    # pytorchcv always pads as for 331 pixels, where the sides before the strides are odd, odd, even, odd, as for 75.
    ("pytorchcv", r"nasnet_6a4032", {"image": 75}),
    ("timm", r"nasnetalarge", {"words": "arch.padding=timm", "order": CURRENT_FIRST}),
]

# Comparisons that are not in the table.
MORE: list[tuple[str, str, str]] = [("resnet50 arch.stride_in_1x1=true", "pytorchcv", "resnet50")]


def cases() -> list[Case]:
    """Every (network, oracle) pair of the golden table and of MORE, once."""
    named = [
        (row.arch, source, name)
        for row in rows()
        for source in ("torchvision", "timm", "pytorchcv")
        if (name := getattr(row, f"{source}_name")) and (source, name) not in NOT_EQUAL
        if not name.endswith("_cifar100")  # with CLASSES classes the same network as _cifar10
    ]
    return [case(*triple) for triple in dict.fromkeys(named + MORE)]


def case(config: str, source: str, name: str) -> Case:
    if "aux_heads=true" in config:
        return Case(config, source, name, image=299)  # torchvision's auxiliary head takes no smaller image
    for where, pattern, settings in SETTINGS:
        if re.fullmatch(where, source) and re.fullmatch(pattern, name):
            settings = dict(settings)
            words = settings.pop("words", "")
            return Case(f"{config} {words}".strip(), source, name, **settings)
    return Case(config, source, name)
