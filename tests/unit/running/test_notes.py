"""The sentences about settings that do not apply to a run."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import composed
from rich.console import Console

from lineage import assemble
from lineage.datamodules.loading.order import split_batch
from lineage.reporting.notes import batch_notes, what_does_not_apply
from lineage.reporting.screen import show_notes

PACKED = "datamodule=packed datamodule.root=a datamodule.num_classes=10 datamodule.channels=3 "
NOTED = {
    "recipe.no_decay_depthwise=true": "no_decay_depthwise=true does not apply to a: it trains no depthwise",
    "recipe.norm_bias_lr_factor=64": "norm_bias_lr_factor=64 does not apply to a: it trains no biases of norm",
    "recipe.whiten_bias_epochs=3": "whiten_bias_epochs=3 does not apply to a: it has no whitening layer",
    "recipe.precise_bn=64": "precise_bn=64 does not apply to a: it has no batch normalisation",
    "arch=resnet18 recipe.finetune=classifier recipe.drop_path=0.1": "recipe.finetune leaves all but the classifier in",
    "arch=resnet18 recipe.finetune=classifier recipe.layer_decay=0.7": "layer_decay=0.7 does not apply to a: rec",
    "arch=resnet18 recipe.zero_init_last=true pretrained=timm": "zero_init_last=true does not apply: the pretrained",
    "arch=vgg11 recipe.zero_init_last=true": "zero_init_last=true does not apply to a: it has no residual branch",
    "recipe.test_interpolation=bicubic": "recipe.test_interpolation=bicubic do not apply: b keeps its 32x32",
    "recipe.train_res=64": "recipe.train_res=64",
    "arch=resnet18 recipe.precise_bn=100000": "precise_bn=100000 uses fewer images",
    "recipe=resnet recipe.epochs=30": "decay_epochs=[30]: the last epoch begins before 30",
    "recipe.epochs=2 recipe.decay_epochs=[1.7]": "decay_epochs=[1.7]: the last epoch begins before 1.7",
    PACKED + "datamodule.max_errors=5": "max_errors=5 does not apply",
    PACKED + "datamodule.cache=c": "cache=c does not apply: b is read",
    "recipe=rsb_a2 recipe.mixup_alpha=0 recipe.cutmix_alpha=0": "bce_threshold=0.2 changes nothing",
}
SILENT = {
    "arch=mobilenet_v1 recipe.no_decay_depthwise=true": "no_decay_depthwise",
    "arch=resnet18 recipe.norm_bias_lr_factor=64": "norm_bias_lr_factor",
    "arch=resnet18 recipe.precise_bn=64": "precise_bn",
    "arch=wideresnet arch.depth=10 recipe.zero_init_last=true": "zero_init_last",
    "arch=resnet18 recipe.drop_path=0.1": "drop_path",
    "arch=resnet18 recipe.train_res=64 recipe.progressive_res=[48,64]": "train_res",
    "recipe=resnet recipe.epochs=31": "decay_epochs",
    "recipe.epochs=2 recipe.decay_epochs=[1.7] recipe.schedule_interval=step": "decay_epochs",
    "recipe=rsb_a2 recipe.mixup_alpha=0": "bce_threshold",
}


def notes(
    words: str, one_size: bool = True, tested: int = 1000, largest: int | None = None, device: str = "cpu"
) -> list[str]:
    """Notes on a run of "a" with the data "b", of ten steps an epoch, in fp32."""
    cfg, train = composed(*words.split()), SimpleNamespace(one_size=one_size)
    data: Any = SimpleNamespace(
        order=SimpleNamespace(steps_per_epoch=10), train=train, test=range(tested), largest=largest
    )
    network = assemble.network(cfg, device="meta")
    return what_does_not_apply(cfg, network, ("a", "b"), data, torch.device(device), "32-true")


@pytest.mark.parametrize(("words", "sentence"), [*NOTED.items(), *SILENT.items()])
def test_settings_that_do_not_apply_are_noted(words, sentence):
    assert (sentence in " ".join(notes(words))) == (words in NOTED)


@pytest.mark.parametrize(
    ("words", "devices", "device", "sentences"),
    [
        ("recipe.batch_size=97 trainer.max_per_device=10", 1, "cpu", ["of 1: 97 has no", "=100 has", "mix nothing"]),
        ("recipe.batch_size=2", 2, "cpu", ["recipe.mixup_alpha and recipe.cutmix_alpha mix nothing", "image alone"]),
        ("recipe.batch_size=514 trainer.max_per_device=256", 1, "cpu", ["of 2: 514 has no", "batch_size=512 has"]),
        ("", 8, "cuda", ["batch normalisation and mixing: 256 images", "; fewer devices or trainer.s"]),
        ("trainer.sync_batchnorm=true", 8, "cuda", ["mixing: 256 images at once", "; fewer devices changes"]),
        ("trainer.max_per_device=100", 1, "cpu", ["mixing: 64 images at once", "; trainer.max_per_device=512 changes"]),
        ("recipe=resnet", 1, "cuda", ["8 forward passes of 32", "device_batch=256", "changes batch normalisation"]),
        ("arch=vgg11 recipe=vgg datamodule=cifar10", 1, "cuda", ["4 forward passes of 64", "changes nothing else"]),
        ("recipe=resnet", 1, "cpu", []),
        ("datamodule=imagenet", 1, "cuda", []),  # 512 images of 224 px leave no unit of a GPU without work
    ],
)
def test_the_size_of_micro_batches_is_noted(words, devices, device, sentences):
    cfg = composed("arch=resnet18", "recipe=rsb_a2", *words.split())
    machine, recipe = cfg.trainer, cfg.recipe
    split = split_batch(recipe.batch_size, recipe.device_batch, devices, machine.max_per_device)
    found = batch_notes(cfg, assemble.network(cfg, device="meta"), split, device)
    assert all(sentence in " ".join(found) for sentence in sentences) and bool(found) == bool(sentences)


@pytest.mark.parametrize(
    ("words", "facts", "sentence"),
    [
        ("recipe=resnet", {"device": "cuda"}, "convolutions run at TF32; bf16 has twice its rate"),
        ("recipe=resnet", {"device": "cuda:1"}, "convolutions run at fp32; 16 bits are faster"),
        ("recipe=resnet", {}, ""),
        ("recipe=rsb_a2", {"device": "cuda"}, ""),
        ("recipe=rsb_a2", {"largest": 200}, "careful: recipe.train_res=224 enlarges every image: their shorter sides"),
        ("recipe=rsb_a2", {"largest": 200}, "recipe.test_res=224 enlarges every image: their shorter sides have 200"),
        ("recipe=rsb_a2", {"largest": 224}, ""),
        ("recipe=rsb_a2", {"tested": 0}, ""),
        ("recipe=rsb_a2", {"tested": 100}, ""),
        ("recipe=rsb_a2", {"tested": 7},
         "danger: the test has 7 images: an accuracy of 0.9 may be anything from 0.49 to 0.97"),
    ],
)  # fmt: skip
def test_what_images_and_device_make_of_a_run_is_noted(words, facts, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7 if device.index else 9, 0))
    said = [
        note for note in notes(words, **facts) if any(word in note for word in ("enlarge", "the test has", "run at"))
    ]
    assert any(sentence in note for note in said) if sentence else not said


@pytest.mark.parametrize(
    ("words", "cpu", "gpu"),
    [("", 256, 2000), ("datamodule=imagenet recipe.test_res=224", 256, 256), ("trainer.max_per_device=50", 50, 50),
     ("datamodule=imagenet recipe.test_res=600", 35, 35), ("datamodule=imagenet recipe.test_res=8192", 1, 1)],
)  # fmt: skip
def test_an_evaluation_takes_as_many_images_as_a_budget_of_pixels_allows(words, cpu, gpu):
    cfg = composed(*words.split())
    assert [assemble.evaluation_batch(cfg, torch.device(name)) for name in ("cpu", "cuda")] == [cpu, gpu]


@pytest.mark.parametrize(
    ("words", "size", "grade", "sentence"),
    [("", True, "note: ", "test_crop_ratio"), ("recipe.decay_epochs=[99]", True, "careful: ", "the last epoch begins"),
     ("datamodule.val_size=0", True, "danger: ", "validation is the test set"),
     ("", False, "danger: ", "are for small images, and b has photographs")],
)  # fmt: skip
def test_notes_have_three_grades(words, size, grade, sentence):
    out = Console(file=io.StringIO(), width=200, force_terminal=True)
    show_notes(out, notes(words, size))
    (line,) = [line for line in out.file.getvalue().splitlines() if sentence in line]
    style = {"note: ": "2", "careful: ": "33", "danger: ": "1;31"}[grade]
    assert line.startswith(f"\x1b[{style}m{grade}")
