"""Write docs/architectures.md and its drawings, from docs/papers.yaml and the networks themselves: make docs"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import assemble
from anatomy.drawing import digest, write
from anatomy.table import Anatomy, dissect
from running import schema  # noqa: F401  # registers the recipe's types

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
DRAWINGS = ROOT / "docs" / "architectures"

INTRODUCTION = """# Architectures

Every network of this project, drawn to scale, with the numbers of its paper beside those counted here. A slab is the
output of a layer: its height is the resolution, its width the channels; the scale stands under each drawing. Bars are
vectors. Circles with a plus are sums, dark bars concatenations, yellow circles the gates of squeeze-and-excitation.
What a frame holds is repeated as often as is written under it; "3 of 16" are three layers drawn of sixteen.

Parameters are exact. Multiply-adds are those of one image, in convolutions and linear layers. The receptive field is
that of the last map, over all paths. The errors, in per cent, are the papers' own; on ImageNet they are of the
validation set. They are transcriptions; not compared with the papers' own pages were the parameters of VGG and
ResNeXt, the operations of ResNet and ResNeXt, GoogLeNet's sums, the errors of Inception-ResNet v1, and those of wide
ResNets 16-8 and 40-4 on CIFAR-100. `python describe.py` prints the table of a network, stage by stage, and draws it.

This page is made by `make docs`, and a test holds it against the networks.
"""


@dataclass(frozen=True)
class Entry:
    """What a paper prints of a network; `network` is what follows arch= on the command line."""

    network: str
    name: str
    parameters: str = ""
    macs: str = ""
    error: str = ""
    where: str = ""
    notes: str = ""
    also: list[str] = field(default_factory=list)

    @property
    def drawing(self) -> Path:
        return DRAWINGS / (re.sub(r"[ .=]+", "_", self.network.replace("arch.", "")) + ".svg")


@dataclass(frozen=True)
class Family:
    """A section: the networks of a paper."""

    title: str
    paper: str
    idea: str
    entries: list[Entry]
    notes: str = ""


def families() -> list[Family]:
    found: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "docs" / "papers.yaml"))
    return [Family(**family | {"entries": [Entry(**entry) for entry in family["entries"]]}) for family in found]


def entries() -> list[Entry]:
    return [entry for family in families() for entry in family.entries]


@functools.cache
def counted() -> dict[str, list[dict[str, str]]]:
    """The rows of the golden table, which the tests hold the networks to, by network."""
    found: dict[str, list[dict[str, str]]] = {}
    with open(ROOT / "tests" / "golden" / "architectures.csv", newline="") as file:
        for row in csv.DictReader(file):
            words = [word for word in row["config"].split() if not word.startswith("recipe.")]
            found.setdefault(" ".join(words), []).append(row)
    return found


@functools.cache
def anatomy(network: str) -> Anatomy:
    """The network for the data, and at the resolution, of its first row in the golden table."""
    row = counted()[network][0]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"datamodule={row['dataset']}", *f"arch={network}".split()])
    return dissect(assemble.network(cfg, device="meta"), cfg.datamodule.channels, int(row["input_size"]))


def page() -> str:
    """The text of docs/architectures.md."""
    contents = [f"- [{family.title}](#{anchor(family.title)})" for family in families()]
    sections = [section(family) for family in families()]
    return "\n".join([INTRODUCTION, *contents, "", "\n".join(sections)])


def anchor(title: str) -> str:
    """GitHub's name of a heading."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def section(family: Family) -> str:
    lines = [f"## {family.title}", "", f"{family.paper}.", "", family.idea, ""]
    lines += [family.notes, ""] if family.notes else []
    return "\n".join([*lines, *map(article, family.entries)])


def article(entry: Entry) -> str:
    """A network: its drawing, the paper's numbers beside ours, what differs and why."""
    look, first = anatomy(entry.network), counted()[entry.network][0]
    data = first["dataset"]
    lines = [
        f"### {entry.name}",
        "",
        f"![{entry.name}, drawn to scale]({entry.drawing.relative_to(PAGE.parent).as_posix()})",
        "",
        f"    python describe.py arch={entry.network} datamodule={data}",
        "",
        "| | paper | here |",
        "|---|---|---|",
        f"| parameters | {entry.parameters} | {parameters(entry)} |",
        f"| multiply-adds | {entry.macs} | {multiply_adds(entry)} |",
        f"| layers, longest path | | {look.depth} |",
        f"| receptive field | | {look.field} pixels of {first['input_size']} |",
    ]
    lines += [f"| error | {entry.error} | |"] if entry.error else []
    lines += [f"| source | {entry.where} | |"] if entry.where else []
    lines += ["", entry.notes] if entry.notes else []
    return "\n".join([*lines, ""])


def parameters(entry: Entry) -> str:
    """The counts here: of each data set if they differ, and of the networks that share the drawing."""
    rows = {row["dataset"]: f"{int(row['params']):,}" for row in counted()[entry.network]}
    found: dict[str, str] = {}
    for dataset, number in rows.items():
        found.setdefault(number, dataset)
    texts = [number if len(found) == 1 else f"{number} ({dataset})" for number, dataset in found.items()]
    texts += [f"{int(row['params']):,} (`{network}`)" for network in entry.also for row in counted()[network]]
    return "; ".join(texts)


def multiply_adds(entry: Entry) -> str:
    rows = {row["input_size"]: row["macs"] for row in reversed(counted()[entry.network])}
    rows = dict(reversed(rows.items()))  # of several data sets of a size, the first
    texts = []
    for size, macs in rows.items():
        millions = float(macs) if macs else anatomy(entry.network).macs / 1e6
        texts.append(f"{millions:,.{3 if millions < 10 else 1}f} M at {size} pixels")
    return "; ".join(texts)


def is_current(entry: Entry) -> bool:
    """Whether the drawing on disk is the one that would be made now."""
    mark = digest(anatomy(entry.network), entry.name)
    return entry.drawing.exists() and f"<dc:description>{mark}</dc:description>" in entry.drawing.read_text()


def main() -> None:
    PAGE.write_text(page())
    for file in set(DRAWINGS.glob("*.svg")) - {entry.drawing for entry in entries()}:
        file.unlink()
    for entry in entries():
        if not is_current(entry):
            write(anatomy(entry.network), entry.name, [entry.drawing])
            print(entry.drawing.relative_to(ROOT))


if __name__ == "__main__":
    main()
