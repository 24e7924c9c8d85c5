"""The networks of the golden table, and the prose about them, docs/papers.yaml."""

import csv
import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import OmegaConf

from lineage.analysis.papers import numbers

ROOT = Path(__file__).parents[1]
DRAWINGS = ROOT / "docs" / "architectures"
GOLDEN = ROOT / "tests" / "golden"

ERRORS = {"top1_error": "top-1", "top5_error": "top-5", "mnist_error": "MNIST"}
ERRORS |= {"cifar10_error": "CIFAR-10", "cifar100_error": "CIFAR-100", "svhn_error": "SVHN"}

MADE = "<!-- The rest of this page is made by make docs. -->\n"


def page(file: Path, **values: Any) -> str:
    """The text of a page: up to MADE as it is, and below that its template, docs/templates/NAME."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "docs" / "templates"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made = environment.get_template(file.name).render(**values)
    return f"{file.read_text().partition(MADE)[0]}{MADE}{made.rstrip()}\n"


@functools.cache
def counted() -> dict[str, list[dict[str, str]]]:
    """The rows of the golden table, which tests compare with the networks, by network."""
    found: dict[str, list[dict[str, str]]] = {}
    with open(GOLDEN / "architectures.csv", newline="") as file:
        for row in csv.DictReader(file):
            overrides = [word for word in row["config"].split() if not word.startswith("arch.resolution_mult=")]
            found.setdefault(" ".join(overrides), []).append(row)
    return found


@dataclass(frozen=True)
class Entry:
    """A network on the page; `network` is what follows arch= in a command."""

    network: str
    notes: str = ""
    also: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return numbers()[self.network][0].name

    @property
    def drawing(self) -> Path:
        return DRAWINGS / (re.sub(r"[ .=]+", "_", self.network.replace("arch.", "")) + ".svg")


@dataclass(frozen=True)
class Family:
    """A section of the page: the networks of a paper; docs/papers.yaml says what each field is."""

    title: str
    family: str
    year: int
    paper: str
    idea: str
    entries: list[Entry]
    descends: list[dict[str, str]] = field(default_factory=list)
    notes: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    short: str = ""
    hue: str = "#0072b2"

    @property
    def anchor(self) -> str:
        """GitHub's, of the heading."""
        return re.sub(r"[^a-z0-9 -]", "", self.title.lower()).replace(" ", "-")


def families() -> list[Family]:
    found: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "docs" / "papers.yaml"))
    return [Family(**family | {"entries": [Entry(**entry) for entry in family["entries"]]}) for family in found]


def entries() -> list[Entry]:
    return [entry for family in families() for entry in family.entries]
