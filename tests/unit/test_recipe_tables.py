"""Every recipe is the table of facts, cell by cell; its header says what a reader needs, and docs/recipes.md shows it."""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
from typing import NamedTuple

import pytest
import yaml
from conftest import composed
from doors import ROOT
from omegaconf import MISSING, OmegaConf

from recipes.recipe import Recipe

NAMES = sorted(file.stem for file in (ROOT / "conf" / "recipe").glob("*.yaml"))
CERTAINTIES = {"table", "paper", "code", "third party", "unverified", "ours"}
NOT_KEYS = ("steps", "top1")  # what the table prints beside the settings

# Values that say nothing while another one is off.
BESIDE = {
    "erasing_mode": ("erasing_prob",),
    "mix_partner": ("mixup_alpha", "cutmix_alpha"),
    "mix_per": ("mixup_alpha", "cutmix_alpha"),
}


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
def golden() -> dict[str, dict[str, Cell]]:
    found: dict[str, dict[str, Cell]] = {}
    with open(ROOT / "tests" / "golden" / "recipes.csv", newline="") as file:
        for row in csv.DictReader(file):
            cell = Cell(**row)
            assert cell.key not in found.setdefault(cell.recipe, {}), f"twice: {cell.recipe} {cell.key}"
            found[cell.recipe][cell.key] = cell
    return found


def header(name: str) -> str:
    lines = (ROOT / "conf" / "recipe" / f"{name}.yaml").read_text().splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith("# "))


@functools.cache
def recipe_of(name: str) -> Recipe:
    """With the command of its header, so that it stands beside the network that it was made for."""
    command = re.search(r"^Command: +python train\.py ?(.*?)(?: {3,}.*)?$", header(name), re.MULTILINE)
    assert command, f"conf/recipe/{name}.yaml: no line with its command"
    cfg = composed(*command.group(1).split())
    recipe = OmegaConf.to_object(cfg.recipe)
    assert isinstance(recipe, Recipe)
    recipe.check()
    return recipe


def number(text: str) -> object:
    value = yaml.safe_load(text)
    try:
        return float(value) if not isinstance(value, (bool, list)) else value
    except ValueError:
        return value


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_the_table_of_facts(name):
    recipe = recipe_of(name)
    for cell in golden()[name].values():
        assert cell.certainty in CERTAINTIES and cell.source, cell
        if cell.key in NOT_KEYS:
            continue
        expected, found = number(cell.value), getattr(recipe, cell.key)
        if isinstance(expected, list):
            assert found == pytest.approx([float(item) for item in expected]), cell
        else:
            assert found == (pytest.approx(expected) if isinstance(expected, float) else expected), cell


@pytest.mark.parametrize("name", NAMES)
def test_every_acting_value_has_a_source(name):
    recipe, known = recipe_of(name), golden()[name]
    for field in dataclasses.fields(Recipe):
        value = getattr(recipe, field.name)
        off = field.default_factory() if callable(field.default_factory) else field.default
        idle = field.name in BESIDE and not any(getattr(recipe, key) for key in BESIDE[field.name])
        if off == MISSING and not idle or value != off and off != MISSING:
            assert field.name in known, f"{name}: recipe.{field.name}={value} is nowhere in tests/golden/recipes.csv"


def test_the_table_of_facts_has_no_other_recipes():
    assert sorted(golden()) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if "steps" in golden()[name]])
def test_epochs_are_the_forward_passes_that_the_paper_prints(name):
    recipe = recipe_of(name)
    steps = recipe.total_epochs * 1_281_167 / recipe.batch_size
    assert round(steps / 1000) * 1000 == float(golden()[name]["steps"].value)


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_in_the_order_of_the_schema(name):
    lines = (ROOT / "conf" / "recipe" / f"{name}.yaml").read_text().splitlines()
    keys = [line.split(":")[0] for line in lines if not line.startswith(("#", "defaults"))]
    order = [field.name for field in dataclasses.fields(Recipe)]
    assert keys == sorted(keys, key=order.index)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_what_a_reader_needs(name):
    words = ["Command", "Expected", *(["Cost", "Differs"] if name != "sgd_step" else [])]
    for word in words:
        assert re.search(rf"^{word}: +\S", header(name), re.MULTILINE), f"{name}: no line {word}"
    unsure = [cell.key for cell in golden()[name].values() if cell.certainty == "unverified"]
    assert "Uncertain:" in header(name) or not unsure, f"{name}: the header does not say that {unsure} are uncertain"
