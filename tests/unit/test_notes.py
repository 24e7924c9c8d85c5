"""What of a command does not apply is said, once, in the first screen and results.json; here by its words alone."""

from __future__ import annotations

import pytest
from conftest import composed

import assemble
from running.notes import what_does_not_apply

SAID = {
    "recipe.no_decay_depthwise=true": "no_decay_depthwise=True does not apply to a: it trains no depthwise",
    "recipe.norm_bias_lr_factor=64": "norm_bias_lr_factor=64.0 does not apply to a: it trains no biases of norm",
    "recipe.precise_bn=64": "precise_bn=64 does not apply to a: it has no batch normalisation",
    "arch=resnet18 recipe.finetune=classifier recipe.drop_path=0.1": "recipe.finetune leaves all but the classifier in",
    "recipe.test_interpolation=bicubic": "recipe.test_interpolation=bicubic do not apply: b keeps its 32x32",
    "recipe.train_res=64": "recipe.train_res=64",
    "arch=resnet18 recipe.precise_bn=100000": "precise_bn=100000 is of fewer images",
    "recipe=resnet recipe.epochs=30": "decay_epochs=[30.0]: the last epoch begins before 30",
    "recipe.epochs=2 recipe.decay_epochs=[1.7]": "decay_epochs=[1.7]: the last epoch begins before 1.7",
    "recipe=rsb_a2 recipe.mixup_alpha=0 recipe.cutmix_alpha=0": "bce_threshold=0.2 changes nothing",
}
UNSAID = {
    "arch=mobilenet_v1 recipe.no_decay_depthwise=true": "no_decay_depthwise",
    "arch=resnet18 recipe.norm_bias_lr_factor=64": "norm_bias_lr_factor",
    "arch=resnet18 recipe.precise_bn=64": "precise_bn",
    "arch=resnet18 recipe.drop_path=0.1": "drop_path",
    "arch=resnet18 recipe.train_res=64 recipe.progressive_res=[48,64]": "train_res",
    "recipe=resnet recipe.epochs=31": "decay_epochs",
    "recipe.epochs=2 recipe.decay_epochs=[1.7] recipe.schedule_interval=step": "decay_epochs",
    "recipe=rsb_a2 recipe.mixup_alpha=0": "bce_threshold",
}


def notes(words: str) -> str:
    cfg = composed(*words.split())
    return " ".join(what_does_not_apply(cfg, assemble.network(cfg, device="meta"), "a", "b", True, 10))


@pytest.mark.parametrize(("words", "sentence"), SAID.items())
def test_what_does_not_apply_is_said(words, sentence):
    assert sentence in notes(words)


@pytest.mark.parametrize(("words", "key"), UNSAID.items())
def test_what_applies_is_not(words, key):
    assert key not in notes(words)
