"""The public implementations that our networks are compared with, and the settings that each comparison needs."""

import re
from dataclasses import dataclass, field

import yaml
from networks import GOLDEN, rows
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


DATA = yaml.safe_load((GOLDEN / "oracles.yaml").read_text())


def cases() -> list[Case]:
    """Every (network, oracle) pair of architectures.csv and of `more` in oracles.yaml, once."""
    named = [
        (row.arch, source, name)
        for row in rows()
        for source in ("torchvision", "timm", "pytorchcv")
        if (name := getattr(row, f"{source}_name")) and not computes_otherwise(source, name)
        if not name.endswith("_cifar100")  # with CLASSES classes the same network as _cifar10
    ]
    return [case(*triple) for triple in dict.fromkeys(named + [tuple(triple) for triple in DATA["more"]])]


def computes_otherwise(source: str, name: str) -> bool:
    return any(source == where and re.fullmatch(pattern, name) for where, pattern, _ in DATA["not_equal"])


def quick(kind: str) -> list[Case]:
    """The cases of a kind that `make test` compares."""
    return [case(*triple) for triple in DATA["quick"][kind]]


def case(config: str, source: str, name: str) -> Case:
    if "aux_heads=true" in config:
        return Case(config, source, name, image=299)  # torchvision's auxiliary head takes no smaller image
    for where, pattern, settings in DATA["settings"]:
        if re.fullmatch(where, source) and re.fullmatch(pattern, name):
            options = {key: value for key, value in settings.items() if key != "words"}
            return Case(f"{config} {settings.get('words', '')}".strip(), source, name, **options)
    return Case(config, source, name)
