"""The procedures as docs/recipes.md shows them: their values, their headers, and the table of facts about them."""

import csv
import functools
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf

from docs.papers import ROOT
from lineage.recipes.recipe import Recipe
from lineage.recipes.recipe import header as recipe_header
from lineage.reporting.dataset_summary import DEPENDS_ON

PICTURES = ROOT / "docs" / "recipes"
GOLDEN = ROOT / "tests" / "golden" / "recipes.csv"
LAYOUT: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "docs" / "procedures.yaml"))
SETS: dict[str, list[str]] = LAYOUT["sets"]
TABLE_2 = next(iter(SETS.values()))
NAMES = [name for names in SETS.values() for name in names]
DIFFERS = "Differs: "  # begins a remark that published code differs from the published table
NETWORKS = 0  # stands for the network's resolution
# How well a value is known, and the mark of a value that its authors did not publish.
MARKS = {"table": "", "paper": "", "code": "", "third party": "†", "unverified": "‡", "ours": "§"}


class Cell(NamedTuple):
    """A line of tests/golden/recipes.csv: a value, its source, and how well it is known."""

    recipe: str
    key: str
    printed: str  # the value in the source's words, if they differ from ours
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
    return recipe_header(ROOT / "conf" / "recipe" / f"{name}.yaml")


@functools.cache
def recipe(name: str) -> Recipe:
    """The recipe of a file and its parent; a resolution that they leave to the network is NETWORKS."""
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
    """The side of the training images; if the network decides, that of the network that the recipe was made for."""
    return recipe(name).train_res or int(cells()[name, "train_res"].value)


def is_idle(name: str, key: str) -> bool:
    """Whether a value has no effect, since what it is a detail of is off."""
    return key in DEPENDS_ON and not any(getattr(recipe(name), other) for other in DEPENDS_ON[key])


def strengths() -> dict[str, float]:
    """The strength of each augmentation, as python -m docs.augmentation measured it."""
    with open(PICTURES / "strength.csv", newline="") as file:
        return {row["recipe"]: float(row["strength"]) for row in csv.DictReader(file)}
