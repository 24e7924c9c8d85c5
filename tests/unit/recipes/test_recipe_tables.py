"""Every recipe equals the table of facts, its header says what a reader needs, and docs/recipes.md shows both."""

import csv
import dataclasses
import re

import pytest
import yaml
from conftest import composed
from doors import ROOT
from omegaconf import OmegaConf

from docs import curves, procedures
from docs import recipes as document
from lineage.recipes.recipe import Recipe

NAMES = sorted(file.stem for file in (ROOT / "conf" / "recipe").glob("*.yaml"))
ABLATIONS = sorted(file.stem for file in (ROOT / "conf" / "recipe" / "rsb_a2_without").glob("*.yaml"))
A2 = procedures.recipe("rsb_a2")
NOT_KEYS = ("steps", "top1")  # rows of the table that are not settings
RESOLUTIONS = ("train_res", "test_res")


def facts(name: str) -> list[procedures.Cell]:
    return [cell for (recipe, _), cell in procedures.cells().items() if recipe == name]


def assert_equal(found: object, cell: procedures.Cell) -> None:
    expected = yaml.safe_load(cell.value)
    try:
        numbers = [float(item) for item in expected] if isinstance(expected, list) else float(expected)
    except ValueError:
        assert found == expected, cell
    else:
        assert found == pytest.approx(numbers), cell


@pytest.mark.parametrize("name", NAMES)
def test_every_value_equals_the_table_of_facts(name):
    recipe = procedures.recipe(name)
    for cell in facts(name):
        assert cell.certainty in procedures.MARKS and cell.source, cell
        networks = cell.key in RESOLUTIONS and getattr(recipe, cell.key) == procedures.NETWORKS
        if cell.key not in NOT_KEYS and not networks:
            assert_equal(getattr(recipe, cell.key), cell)


@pytest.mark.parametrize("name", NAMES)
def test_every_acting_value_has_a_source(name):
    recipe, known = procedures.recipe(name), {cell.key for cell in facts(name)}
    for field in dataclasses.fields(Recipe):
        value = getattr(recipe, field.name)
        off = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        acts = not procedures.is_idle(name, field.name) if off is dataclasses.MISSING else value != off
        assert not acts or field.name in known, f"recipe.{field.name}={value} is not in tests/golden/recipes.csv"


def test_the_table_of_facts_has_all_recipes_and_each_fact_once():
    with open(procedures.GOLDEN, newline="") as file:
        lines = [(row["recipe"], row["key"]) for row in csv.DictReader(file)]
    assert len(lines) == len(set(lines)) and sorted({recipe for recipe, _ in lines}) == NAMES


@pytest.mark.parametrize("name", procedures.TABLE_2)
def test_epochs_make_the_forward_passes_of_the_paper(name):
    recipe = procedures.recipe(name)
    steps = recipe.total_epochs * 1_281_167 / recipe.batch_size
    assert round(steps / 1000) * 1000 == float(procedures.cells()[name, "steps"].value)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_the_schemas_order_and_a_complete_header(name):
    lines = (ROOT / "conf" / "recipe" / f"{name}.yaml").read_text().splitlines()
    keys = [line.split(":")[0] for line in lines if not line.startswith(("#", "defaults"))]
    assert keys == sorted(keys, key=[field.name for field in dataclasses.fields(Recipe)].index)
    assert any("device_batch" in part for part in procedures.lineage(name))
    header, unsure = procedures.header(name), [cell.key for cell in facts(name) if cell.certainty == "unverified"]
    assert header[""] and header["Command"].startswith("python train.py") and header["Expected"] and header["Cost"]
    assert "Uncertain" in header or not unsure, f"the header does not say that {unsure} are uncertain"
    assert max(map(len, lines)) <= 120


def test_a_value_that_is_said_to_be_another_recipes_equals_it():
    for (name, key), cell in procedures.cells().items():
        if other := re.search(r"^As recipe=(\w+)\.$", cell.note):
            assert getattr(procedures.recipe(name), key) == getattr(procedures.recipe(other[1]), key), (name, key)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_differs_from_a2_by_its_name(name):
    own = OmegaConf.load(ROOT / "conf" / "recipe" / "rsb_a2_without" / f"{name}.yaml")
    ingredient, *others = [key for key in own if key != "defaults"]
    assert ingredient.startswith({"bce": "loss"}.get(name, name)) and own[ingredient] != getattr(A2, ingredient)
    assert all(own[key] != getattr(A2, key) for key in others)


def test_an_ablation_composes_and_the_sweep_names_every_ingredient():
    recipe = OmegaConf.to_object(composed("recipe=rsb_a2_without/crop", "arch=resnet_cifar").recipe)
    recipe.check()
    changed = {"crop": "scale_jitter", "crop_scale": [256.0, 256.0], "crop_ratio": []}
    assert recipe == dataclasses.replace(A2, **changed)
    text = (ROOT / "conf" / "experiment" / "ablation_rsb.yaml").read_text()
    assert sorted(re.findall(r"rsb_a2_without/(\w+)", text)) == ABLATIONS


def test_the_page_and_the_chart_of_recipes_are_current():
    assert sorted(procedures.NAMES) == NAMES
    assert document.PAGE.read_text() == document.page(), "stale: make docs"
    assert curves.fingerprint() in curves.FILE.read_text(), "stale: make docs"


@pytest.mark.proofs
@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_header_composes(name):
    """The network's resolution is the one in the table of facts."""
    words = procedures.header(name)["Command"].removeprefix("python train.py")
    cfg = composed(*words.split())
    recipe = OmegaConf.to_object(cfg.recipe)
    assert isinstance(recipe, Recipe)
    recipe.check()
    assert cfg.datamodule.resolution in (None, recipe.train_res)
    for cell in facts(name):
        if cell.key in RESOLUTIONS:
            assert_equal(getattr(recipe, cell.key), cell)
    steps = re.search(r"(?<!epochs of )(?<![\d,])([\d,]+) steps of (\d+)", procedures.header(name)["Cost"])
    if steps:
        images = {"imagenet": 1_281_167, "cifar": 50_000}.get(cfg.datamodule._target_.split(".")[3], 1_437)
        steps_of_all = recipe.epochs * (images - cfg.datamodule.val_size) / int(steps[2])
        assert float(steps[1].replace(",", "")) == pytest.approx(steps_of_all, rel=0.01)


@pytest.mark.proofs
@pytest.mark.parametrize("name", NAMES)
def test_the_strength_of_an_augmentation_is_as_measured(name):
    """Up to differences between versions of Pillow and other libraries."""
    from docs.augmentation import strength

    assert strength(name) == pytest.approx(procedures.strengths()[name], rel=0.05, abs=0.01)
