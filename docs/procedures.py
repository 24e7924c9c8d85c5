"""The procedures as docs/recipes.md shows them: their values, their headers, and the table of facts beside them."""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf

from lineage.recipes.recipe import Recipe

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "recipes"
GOLDEN = ROOT / "tests" / "golden" / "recipes.csv"
TABLE_2 = ("resnet", "pytorch", "fixres", "deit", "fams", "rsb_a1", "rsb_a2", "rsb_a3")
FAMILIES = (
    "alexnet", "vgg", "googlenet", "inception", "xception", "senet", "mobilenet", "efficientnet", "torchvision_v2",
    "fixres_finetune",
)  # fmt: skip
SMALL = (
    "lenet_1998", "resnet_cifar", "wrn", "wrn_svhn", "densenet_cifar", "resnext_cifar", "nasnet_cifar", "speedrun",
    "sgd_step",
)  # fmt: skip
SETS = {
    'Table 2 of "ResNet strikes back"': TABLE_2,
    "The families' own, on ImageNet": FAMILIES,
    "Small images": SMALL,
}
DIFFERS = "Differs: "  # how a remark begins that tells of published code against the published table
NETWORKS = 0  # a resolution that is the network's
# Values that say nothing while another one is off.
BESIDE = {
    "erasing_mode": ("erasing_prob",),
    "mix_partner": ("mixup_alpha", "cutmix_alpha"),
    "mix_per": ("mixup_alpha", "cutmix_alpha"),
}
# How well a value is known, and the mark of one that its authors did not publish.
MARKS = {"table": "", "paper": "", "code": "", "third party": "†", "unverified": "‡", "ours": "§"}


class Cell(NamedTuple):
    """A line of tests/golden/recipes.csv: a value in the words of the schema, and how well it is known."""

    recipe: str
    key: str
    printed: str  # by the source, where it has other words
    value: str
    source: str
    certainty: str
    note: str


@functools.cache
def cells() -> dict[tuple[str, str], Cell]:
    """By recipe and key."""
    with open(GOLDEN, newline="") as file:
        return {(row["recipe"], row["key"]): Cell(**row) for row in csv.DictReader(file)}


def header(name: str) -> dict[str, str]:
    """The header of a recipe's file: its title, under "", and its lines by their first word."""
    found, word = {"": ""}, ""
    for line in (ROOT / "conf" / "recipe" / f"{name}.yaml").read_text().splitlines():
        if not line.startswith("# "):
            break
        text = line[2:]
        start = re.match(r"([A-Z][a-z]+): +(.*)", text)
        word, text = start.groups() if start else (word, text.strip())
        found[word] = f"{found.get(word, '')} {text}".strip()
    return found


@functools.cache
def recipe(name: str) -> Recipe:
    """As its file and its parent's have it; where they leave a resolution to the network, it is NETWORKS."""
    cfg = OmegaConf.create({"recipe": OmegaConf.structured(Recipe), "published": {"resolution": NETWORKS}})
    for part in reversed(lineage(name)):
        cfg.recipe = OmegaConf.merge(cfg.recipe, part)
    return cast(Recipe, OmegaConf.to_object(cfg.recipe))


def lineage(name: str) -> list[Any]:
    """The keys of a recipe's file, then those of its parent."""
    own: Any = OmegaConf.load(ROOT / "conf" / "recipe" / f"{name}.yaml")
    parents = [parent for parent in own.pop("defaults", []) if parent != "_self_"]
    return [own, *(part for parent in parents for part in lineage(parent))]


def resolution(name: str) -> int:
    """Of the images in training; where it is the network's, of the one that the recipe was made for."""
    return recipe(name).train_res or int(cells()[name, "train_res"].value)


def is_idle(name: str, key: str) -> bool:
    """Whether a value says nothing, since what it belongs to is off."""
    return key in BESIDE and not any(getattr(recipe(name), other) for other in BESIDE[key])


def strengths() -> dict[str, float]:
    """What python -m docs.augmentation measured."""
    with open(PICTURES / "strength.csv", newline="") as file:
        return {row["recipe"]: float(row["strength"]) for row in csv.DictReader(file)}
