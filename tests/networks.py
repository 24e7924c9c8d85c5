"""The networks under test: the golden table of facts, how a config becomes a module, and the oracles of each."""

import csv
import functools
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from unittest import mock

import pytest
import torch
import yaml
from conftest import composed as command_config
from doors import ROOT
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lineage.archs import catalogue

GOLDEN = ROOT / "tests" / "golden"
WRONG = yaml.safe_load((GOLDEN / "wrong_networks.yaml").read_text())
SIDE = {"mnist": 32, "cifar10": 32, "cifar100": 32, "svhn": 32}  # pixels; 224 of any other


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
        """The words that make the network, without the resolution of its images."""
        return " ".join(word for word in self.config.split() if not word.startswith("arch.resolution_mult="))


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
    return found + [name for name in catalogue.names() if name not in named]


def in_channels(dataset: str) -> int:
    return 1 if dataset == "mnist" else 3


@functools.cache
def composed(words: str, dataset: str) -> DictConfig:
    """The config of `arch=<words>` on a data set, without dropout and drop path unless `words` ask for them."""
    return command_config(f"datamodule={dataset}", "recipe.dropout=0", "recipe.drop_path=0", *f"arch={words}".split())


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
    config: str, dataset: str | None = None, num_classes: int | None = None, channels: int | None = None,
    device: str = "cpu", initialise: bool = True,
) -> nn.Module:  # fmt: skip
    """The network of `arch=<config>`; without arguments, as for the data set of its first row in the table.

    `initialise=False` leaves the weights as memory was, NaNs included: for networks that are then filled whole.
    """
    dataset = dataset or dataset_of(config)
    name, *words = config.split()
    given = OmegaConf.to_container(OmegaConf.from_dotlist(words))
    known = catalogue.parameters(name)
    from_recipe = {key: value for key, value in given.get("recipe", {}).items() if key in known}
    classes = classes_of(config) if num_classes is None else num_classes
    torch.manual_seed(0)
    empty = device == "meta" or not initialise
    with torch.device(device), uninitialised() if empty else nullcontext():
        return catalogue.build(
            name,
            classes,
            channels or in_channels(dataset),
            resolution=SIDE.get(dataset, 224),
            **from_recipe | given.get("arch", {}),
        )


def uninitialised() -> AbstractContextManager:
    """Random initial weights cost a large network seconds."""
    names = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")]
    return mock.patch.multiple(nn.init, **{name: lambda tensor, *args, **options: tensor for name in names})


def family(config: str) -> str:
    """The file under archs/ that builds the network."""
    return catalogue.target(config.split()[0]).__module__.split(".")[2]


def stage_tables() -> dict[str, list[dict[str, str]]]:
    """The lines of tests/golden/stages.csv by config: what the paper says of the output of a module."""
    with open(GOLDEN / "stages.csv", newline="") as file:
        return {config: list(lines) for config, lines in groupby(csv.DictReader(file), itemgetter("config"))}


def proofs(every: Iterable, quick: Iterable = ()) -> list:
    """Parameters of a test that only `make proofs` runs: all but the quick ones."""
    return [pytest.param(one, marks=pytest.mark.proofs) for one in every if one not in quick]
