"""What the papers print about networks: the rows of archs/papers.csv."""

import csv
import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import lineage

FILE = Path(lineage.__file__).parent / "archs" / "papers.csv"

# Who compared a number with its paper, and the mark of numbers that this project did not compare.
MARKS = {"paper": "", "authors' release": "", "third party": "†", "nobody": "‡"}
# The errors of a data set: top-1, and top-5 if the papers print it.
ERRORS_ON = {"imagenet": ("top1_error", "top5_error"), "mnist": ("mnist_error",), "svhn": ("svhn_error",)}
ERRORS_ON |= {"cifar10": ("cifar10_error",), "cifar100": ("cifar100_error",)}


class Number(NamedTuple):
    """A row; its `quantity` is none if the paper prints no number of the network."""

    config: str  # what follows arch= on the command line
    name: str
    year: str
    quantity: str
    value: str  # as printed, without its unit
    unit: str  # M, G, % or nothing
    source: str  # table, section or page
    read_by: str  # who compared it with the paper: see MARKS
    note: str  # under which conditions

    def __str__(self) -> str:
        """As on the page: "3.8 G†"."""
        value = f"{int(self.value):,}" if len(self.value) > 4 and self.value.isdecimal() else self.value
        unit = {"connections": " connections", "macs": f" {self.unit}", "params": f" {self.unit}".rstrip()}
        return f"{value}{unit.get(self.quantity, '')}{MARKS[self.read_by]}"

    @property
    def crops(self) -> str:
        """How the network was tested: one crop, ten crops, dense evaluation; or that the paper does not say."""
        found = re.search(r"\b(one|single|ten) crops?\b|dense evaluation", self.note)
        return found[0].replace("single", "one") if found else "crops not stated"


@functools.cache
def numbers() -> dict[str, list[Number]]:
    """The papers' numbers, by config."""
    found: dict[str, list[Number]] = {}
    with open(FILE, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["config"], []).append(Number(**row))
    return found


def printed(config: str, quantity: str) -> Number | None:
    """The paper's number; that of one crop, if it prints several."""
    found = [number for number in numbers().get(config, ()) if number.quantity == quantity]
    return min(found, key=lambda number: number.crops != "one crop", default=None)


def networks_of(dataset: str) -> list[str]:
    """The networks of papers on a data set, as words after arch=. ImageNet's are those of which no variant has an error
    on smaller images; their papers may print none."""
    with_errors = {config: {number.quantity for number in found} for config, found in numbers().items()}
    wanted = set(ERRORS_ON.get(dataset, ()))
    if dataset != "imagenet":
        return [config for config, errors in with_errors.items() if wanted & errors]
    large = {*wanted, "params", "macs", "connections", "none"}
    small = {config.split()[0] for config, errors in with_errors.items() if errors - large}
    return [config for config in numbers() if config.split()[0] not in small]


def accuracy(network: str, dataset: str) -> dict[str, Any]:
    """Of the paper, as fractions: top1, perhaps top5, and accuracy_of, under which conditions; {} if it prints none."""
    row: dict[str, Any] = {}
    for key, error in zip(("top1", "top5"), ERRORS_ON.get(dataset, ()), strict=False):
        if number := printed(network, error):
            tested = number.crops if dataset == "imagenet" else "paper"  # small images are not cropped
            row |= {key: round(1 - float(number.value) / 100, 6), "accuracy_of": f"{tested} ({number.source})"}
    return row
