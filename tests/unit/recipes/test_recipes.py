"""What a recipe refuses: values outside their keys' ranges, and values that make no sense beside each other."""

import math
from typing import get_args

import pytest
import yaml
from conftest import recipe_of
from doors import ROOT

from lineage.recipes.recipe import ANNOTATIONS, RULES, RecipeError
from lineage.rules import FUNCTIONS, Sentence, rules

CHOICES = [name for name, annotation in ANNOTATIONS.items() if get_args(annotation)[:1] == (str,)]


@pytest.mark.parametrize("name", CHOICES)
def test_a_word_that_is_no_choice_is_refused(name):
    with pytest.raises(RecipeError, match=rf"^recipe\.{name}=xyz: it is (one of|classifier or nothing)"):
        recipe_of("sgd_step", **{name: "xyz"}).check()


def test_every_number_has_a_range():
    recipe = recipe_of("sgd_step")
    for name in ANNOTATIONS.keys() - set(CHOICES):
        value = getattr(recipe, name)
        if isinstance(value, bool | str):
            continue
        for number in (-(10**20), 10**20, math.nan):
            outside = [number] if isinstance(value, list) else number
            with pytest.raises(RecipeError, match=rf"^recipe\.{name}="):
                recipe_of("sgd_step", **{name: outside}).check()


MISTAKES = yaml.safe_load((ROOT / "tests" / "golden" / "mistakes.yaml").read_text())


@pytest.mark.parametrize(("name", "changes", "word"), MISTAKES["recipes that make no sense"], ids=str)
def test_what_makes_no_sense_together_is_refused(name, changes, word):
    with pytest.raises(RecipeError) as caught:
        recipe_of(name, **changes).check()
    assert str(caught.value).startswith(f"recipe.{word}") and "\n" not in str(caught.value)


def test_every_rule_speaks_of_keys():
    for condition, sentence in rules(RULES):
        assert set(condition.co_names) <= ANNOTATIONS.keys() | FUNCTIONS.keys()
        assert Sentence().vformat(sentence, (), vars(recipe_of("wrn")))
