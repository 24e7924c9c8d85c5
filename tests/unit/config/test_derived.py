"""What is derived from a config, by hand-made values: for an evaluation, for lineage find and compare."""

from types import SimpleNamespace

import pytest
import torch
from conftest import composed, composed_once
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from lineage import assemble
from lineage.asking import comparing, finding, measuring, several
from lineage.config.completion import complete
from lineage.config.derived import eval_preprocessing, smallest_size
from lineage.errors import UserError


@pytest.fixture
def completed():
    """The complete config of a command line."""

    def of(words: str):
        cfg = composed(*words.split(), door="evaluate", return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg.hydra
        return complete(cfg)

    yield of
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("datamodule=cifar10 resolution=48", {"datamodule.resolution": 48, "recipe.test_res": 224}),
        ("datamodule=imagenet resolution=256", {"datamodule.resolution": None, "recipe.test_res": 256}),
        ("datamodule=imagenet crop=0.9 views=five", {"recipe.test_crop_ratio": 0.9, "recipe.test_views": "five"}),
        ("datamodule=cifar10 datamodule.root=/a/b/../c", {"datamodule.root": "/a/c"}),
    ],
)
def test_a_complete_config(words, values, completed):
    cfg = completed(f"arch=resnet18 {words}")
    assert {key: OmegaConf.select(cfg, key) for key in values} == values


def test_crops_are_of_photographs(completed):
    with pytest.raises(UserError, match="recipe.test_crop_ratio: these images have one size"):
        completed("arch=resnet18 datamodule=cifar10 recipe.test_crop_ratio=0.9")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("datamodule=imagenet recipe=rsb_a2 recipe.test_res=288", (288, 0.95, "bicubic")),
        ("datamodule=imagenet recipe=rsb_a2 recipe.test_interpolation=area", (224, 0.95, "area")),
        ("datamodule=cifar10 recipe=rsb_a2", (32, 1.0, "bilinear")),
    ],
)
def test_preprocessing_of_an_evaluation(words, expected):
    found = eval_preprocessing(composed_once(*words.split()))
    assert (found.resolution, found.crop, found.interpolation) == expected and len(found.std) == len(found.mean) == 3


@pytest.mark.parametrize(
    ("words", "side", "source"),
    [
        ("datamodule=imagenet recipe.train_res=176 recipe.test_res=224", 176, "recipe.train_res=176"),
        ("datamodule=imagenet recipe.train_res=224 recipe.test_res=192", 192, "recipe.test_res=192"),
        ("datamodule=cifar10 recipe.train_res=96", 32, "datamodule.resolution=32"),
        ("datamodule=cifar10 recipe.train_res=224 recipe.progressive_res=[160,96,224]", 14, "progressive_res"),  # 13.7
    ],
)
def test_the_smallest_image(words, side, source):
    found = smallest_size(composed(*words.split()))
    assert found[0] == side and source in found[1]


@pytest.mark.parametrize(
    ("words", "device", "images"),
    [
        ("datamodule=imagenet recipe.test_res=224", "cuda", 256),
        ("datamodule=imagenet recipe.test_res=448", "cuda", 64),
        ("datamodule=cifar10", "cuda", 2000),
        ("datamodule=cifar10", "cpu", 256),
        ("datamodule=cifar10 trainer.max_per_device=48", "cuda", 48),
    ],
)
def test_images_of_a_pass_without_gradients(words, device, images):
    assert assemble.evaluation_batch(composed(*words.split()), torch.device(device)) == images


def test_the_rate_to_try_is_a_tenth_of_the_rate_with_the_least_loss():
    assert finding.smoothed([1.0, 3.0]) == pytest.approx([1.0, 0.39 / 0.19])
    losses = [3.0, 3.0, 3.0, 3.0, 0.1, 1.0, 1.0, 1.0, 1.0, 9.0]  # a single step with a small one is luck
    assert finding.rate_to_try([0.1 * (step + 1) for step in range(10)], losses) == pytest.approx(0.09)


def test_words_about_several_networks():
    assert several.items("[1,2],[3,4]") == ["[1,2]", "[3,4]"] and several.items("[a,b]") == ["a", "b"]
    found = several.networks_of(["batch=1", "arch=a,b c=1", "arch.depth=8,14"])
    assert found == ["a arch.depth=8", "a arch.depth=14", "b c=1 arch.depth=8", "b c=1 arch.depth=14"]


def test_an_accuracy_is_of_the_very_network():
    def known(words: str, dataset: str = "imagenet") -> bool:
        cfg = composed(*f"arch={words} datamodule=imagenet accuracy=torchvision".split(), door="compare")
        return bool(comparing.accuracy(words, cfg, dataset))

    assert known("resnet50") and known("resnet50 arch.stride_in_1x1=false")
    assert not known("resnet50", "cifar10") and not known("resnet50 arch.stride_in_1x1=true")
    assert not known("resnet50 arch.groups=2")


def test_passes_are_timed_after_those_that_warm_up(monkeypatch, tmp_path):
    clock, passes = iter(range(1000)), []  # a second a pass
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    limits = SimpleNamespace(warm_up=3, passes=5, seconds=100)
    assert measuring._times(lambda: passes.append(1), limits) == [1] * 5 and len(passes) == 8
    assert len(measuring._times(lambda: None, SimpleNamespace(warm_up=9, passes=9, seconds=8))) == 4
    (tmp_path / "status").write_text("VmPeak:\t    9 kB\nVmHWM:\t 2048 kB\n")
    assert measuring._bytes(str(tmp_path / "status"), "VmHWM") == 2 * 2**20
