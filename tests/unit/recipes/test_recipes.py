"""What a recipe refuses: values outside their keys' ranges, and values that make no sense beside each other."""

import functools
import math
from typing import get_args

import pytest
from conftest import composed, recipe_of

from lineage.recipes.recipe import ANNOTATIONS, RULES, RecipeError
from lineage.rules import FUNCTIONS, Sentence, rules


@functools.cache
def config(name: str):
    return composed(f"recipe={name}").recipe


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


# Each a recipe, what is changed in it, and the word that the message names first.
TOGETHER = [
    ("rsb_a2", {"min_lr": 0.1}, "min_lr"),
    ("rsb_a2", {"warmup_lr": 0.1}, "warmup_lr"),
    ("rsb_a2", {"warmup_lr": 0.0}, "warmup_lr"),
    ("rsb_a2", {"warmup_factor": 0.1}, "warmup_lr"),
    ("rsb_a2", {"warmup_epochs": 301.0}, "warmup_epochs"),
    ("rsb_a2", {"warmup_epochs": 300.0, "after_warmup": True}, "after_warmup"),
    ("rsb_a2", {"decay_rate": 0.1}, "decay_rate"),
    ("rsb_a2", {"decay_epochs": [30.0]}, "decay_epochs"),
    ("wrn", {"decay_epochs": [60.0, 200.0]}, "decay_epochs"),
    ("wrn", {"decay_epochs": [60.0, 30.0]}, "decay_epochs"),
    ("wrn", {"decay_epochs": [60.0, 60.0]}, "decay_epochs"),
    ("wrn", {"decay_epochs": []}, "decay_epochs"),
    ("wrn", {"min_lr": 1e-3}, "min_lr"),
    ("wrn", {"decay_epochs": [197.0], "warmup_epochs": 5.0, "warmup_lr": 1e-3, "after_warmup": True}, "decay_epochs"),
    ("wrn", {"warmup_factor": 0.1}, "warmup_factor"),
    ("wrn", {"lrs": [0.1]}, "lrs"),
    ("wrn", {"patience": 5}, "patience"),
    ("wrn", {"swa_lr": 0.1}, "swa_lr"),
    ("wrn", {"swa": 5, "cooldown_epochs": 5}, "swa"),
    ("wrn", {"swa": 201}, "swa"),
    ("wrn", {"swa": 200, "swa_lr": 0.1}, "swa_lr"),
    ("rsb_a2", {"swa": 295, "swa_lr": 1e-3}, "swa_lr"),
    ("resnet", {"decay_epochs": [30.0, 60.0]}, "decay_epochs"),
    ("lenet_1998", {"lr": 1e-3}, "lrs"),
    ("alexnet", {"max_decays": 0}, "patience"),
    ("alexnet", {"cooldown_epochs": 5}, "cooldown_epochs"),
    ("alexnet", {"warmup_epochs": 5.0, "warmup_lr": 1e-3}, "warmup_epochs"),
    ("wrn", {"optimizer": "adam"}, "nesterov"),
    ("wrn", {"momentum": 0.0}, "nesterov"),
    ("wrn", {"beta2": 0.9}, "beta2"),
    ("wrn", {"eps": 1e-8}, "eps"),
    ("wrn", {"lamb_clip": 1.0}, "lamb_clip"),
    ("wrn", {"lars_trust": 1e-3}, "lars_trust"),
    ("wrn", {"lr_batch": 256}, "lr_scaling"),
    ("wrn", {"lr_scaling": "linear"}, "lr_scaling"),
    ("wrn", {"lookahead": 0.5}, "lookahead"),
    ("wrn", {"layer_decay": 0.5, "norm_bias_lr_factor": 64.0}, "layer_decay"),
    ("wrn", {"bias_lr": 0.1}, "muon_iterations"),
    ("wrn", {"whiten_bias_decay": True}, "whiten_bias_decay"),
    ("speedrun", {"head_lr": 0.0}, "muon_iterations"),
    ("speedrun", {"norm_bias_lr_factor": 64.0}, "norm_bias_lr_factor"),
    ("wrn", {"class_weights": "all"}, "class_weights"),
    ("wrn", {"class_weights": [-1.0]}, "class_weights"),
    ("wrn", {"class_weights": "balanced", "sampling": "balanced"}, "class_weights"),
    ("lenet_1998", {"focal_gamma": 2.0}, "loss"),
    ("rsb_a2", {"beta2": 0.0}, "beta2"),
    ("rsb_a2", {"optimizer": "lion", "lamb_clip": 0.0}, "eps"),
    ("rsb_a2", {"optimizer": "lars", "lamb_clip": 0.0, "beta2": 0.0}, "lars_trust"),
    ("rsb_a2", {"progressive_res": [128, 160]}, "progressive_res"),
    ("rsb_a2", {"epochs": 5, "progressive_res": [128] * 5 + [224]}, "progressive_res"),
]


@pytest.mark.parametrize(("name", "changes", "word"), TOGETHER, ids=str)
def test_what_makes_no_sense_together_is_refused(name, changes, word):
    with pytest.raises(RecipeError) as caught:
        recipe_of(name, **changes).check()
    assert str(caught.value).startswith(f"recipe.{word}") and "\n" not in str(caught.value)


def test_every_rule_speaks_of_keys():
    for condition, sentence in rules(RULES):
        assert set(condition.co_names) <= ANNOTATIONS.keys() | FUNCTIONS.keys()
        assert Sentence().vformat(sentence, (), vars(recipe_of("wrn")))
