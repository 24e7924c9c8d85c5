"""The networks under test: the golden table of facts, how a config becomes a module, and the oracles of each."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import hydra
import torch
from omegaconf import OmegaConf
from torch import nn

from porting import Order

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"


@dataclass(frozen=True)
class Row:
    """A line of tests/golden/architectures.csv; `config` is what follows `arch=` on the command line."""

    config: str
    name: str
    dataset: str
    input_size: int
    num_classes: int
    params: int
    macs: float | None  # millions of multiply-adds at input_size, batch 1
    torchvision_name: str
    timm_name: str
    pytorchcv_name: str

    @property
    def arch(self) -> str:
        """The words that make the network, without those of the recipe."""
        return " ".join(word for word in self.config.split() if not word.startswith("recipe."))


def rows() -> list[Row]:
    with open(GOLDEN / "architectures.csv", newline="") as file:
        return [
            Row(
                **line
                | {key: int(line[key]) for key in ("input_size", "num_classes", "params")}
                | {"macs": float(line["macs"]) if line["macs"] else None}
            )
            for line in csv.DictReader(file)
        ]


def configs() -> list[str]:
    """Every network: those of the golden table, and every file of conf/arch that it does not name."""
    found = list(dict.fromkeys(row.arch for row in rows()))
    named = {config.split()[0] for config in found}
    return found + sorted(path.stem for path in (ROOT / "conf" / "arch").glob("*.yaml") if path.stem not in named)


def in_channels(dataset: str) -> int:
    return 1 if dataset == "mnist" else 3


def small_images(dataset: str) -> bool:
    return dataset in ("mnist", "cifar10", "cifar100", "svhn")


def load(name: str):
    """An arch YAML over its parents, named in `defaults`."""
    config = OmegaConf.load(ROOT / "conf" / "arch" / f"{name}.yaml")
    parents = [parent for parent in config.pop("defaults", []) if parent != "_self_"]
    return OmegaConf.merge(*map(load, parents), config)


@functools.cache
def composed(words: str, dataset: str, num_classes: int, channels: int) -> dict:
    """The node `arch` of the composed config, resolved."""
    name, *overrides = words.split()
    stem = "cifar" if small_images(dataset) else "imagenet"
    world = OmegaConf.create(
        {
            "arch": load(name),
            "datamodule": {"num_classes": num_classes, "channels": channels, "stem": stem},
            "recipe": {"drop_path": 0.0, "dropout": 0.0, "test_res": None},
        }
    )
    OmegaConf.set_struct(world, True)
    world = OmegaConf.merge(world, OmegaConf.from_dotlist(overrides))
    return OmegaConf.to_container(world, resolve=True)["arch"]


@functools.cache
def first_row(config: str) -> Row | None:
    """The table's first line about the same network, whatever else the words say."""
    found = [row for row in rows() if row.arch == config]
    return (found or [row for row in rows() if row.arch.split()[0] == config.split()[0]] or [None])[0]


def dataset_of(config: str) -> str:
    row = first_row(config)
    return row.dataset if row else "imagenet"


def classes_of(config: str) -> int:
    row = first_row(config)
    return row.num_classes if row else 1000


def channels_of(config: str) -> int:
    return in_channels(dataset_of(config))


def build(
    config: str,
    dataset: str | None = None,
    num_classes: int | None = None,
    channels: int | None = None,
    device: str = "cpu",
) -> nn.Module:
    """The network of `arch=<config>`; without arguments, as for the data set of its first row in the table."""
    dataset = dataset or dataset_of(config)
    arch = composed(config, dataset, num_classes or classes_of(config), channels or in_channels(dataset))
    arguments = {key: value for key, value in arch.items() if key != "resolution"}
    torch.manual_seed(0)
    with torch.device(device):
        return hydra.utils.instantiate(arguments)


def family(config: str) -> str:
    """The file under archs/ that builds the network."""
    return composed(config, "imagenet", 10, 3)["_target_"].split(".")[1]
