"""The preprocessing of released weights: read from the libraries, and equal to theirs pixel for pixel."""

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import composed, recipe_of
from doors import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from networks import build, uninitialised
from omegaconf import DictConfig
from photographs import apply_view, photographs
from PIL import Image

from lineage.archs.arguments import ArchitectureError
from lineage.config import derived
from lineage.config.completion import complete
from lineage.errors import UserError
from lineage.recipes.augment.host import EvalCrop
from lineage.weights import libraries, provenance
from lineage.weights.preprocessing import Preprocessing, from_timm_config, preprocessing_from, to_timm_config
from lineage.weights.provenance import timm_preprocessing, torchvision_preprocessing

OURS = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 160, 0.95, "bicubic")


def preprocessed(image: Image.Image, preprocessing: Preprocessing) -> torch.Tensor:
    recipe = recipe_of(
        "rsb_a2", test_res=preprocessing.resolution, test_crop_ratio=preprocessing.crop,
        test_interpolation=preprocessing.interpolation,
    )  # fmt: skip
    pixels = apply_view(EvalCrop(recipe), [image], torch.zeros(1, 3, dtype=torch.int64))[0].float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    return (pixels - mean) / std


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "tf_efficientnet_lite0.in1k"])
def test_equals_timm(name):
    import timm

    preprocessing = timm_preprocessing(name)
    config = timm.get_pretrained_cfg(name).to_dict()
    values = timm.data.resolve_data_config({}, pretrained_cfg=config, use_test_size=True)
    transform = timm.data.create_transform(**values, is_training=False)
    for image in photographs()[:4]:
        assert torch.allclose(preprocessed(image, preprocessing), transform(image), atol=1e-6)


@pytest.mark.parametrize("name", ["resnet50.IMAGENET1K_V1", "inception_v3"])
def test_equals_torchvision(name):
    """Of weights that are not the model's default, and for Inception v3, which normalises inside the network."""
    import torchvision

    model, _, version = name.partition(".")
    transform = getattr(torchvision.models.get_model_weights(model), version or "DEFAULT").transforms()
    preprocessing = torchvision_preprocessing(name)
    for image in photographs()[:4]:
        theirs = transform(image)
        if model == "inception_v3":
            network: Any = SimpleNamespace(transform_input=True)
            theirs = torchvision.models.Inception3._transform_input(network, theirs[None])[0]
        assert torch.allclose(preprocessed(image, preprocessing), theirs, atol=1e-5)


def test_conversions():
    assert preprocessing_from(json.loads(json.dumps(dataclasses.asdict(OURS)))) == OURS
    assert from_timm_config(to_timm_config(OURS), "") == OURS
    assert OURS.differences(OURS) == ""
    other = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.4), 160, 0.9, "area")
    assert OURS.differences(other) == "crop 0.9, area, std [0.2,0.25,0.4]"
    assert OURS.differences(dataclasses.replace(OURS, resolution=224, mean=(0.5,) * 3)) == "224 px, mean [0.5,0.5,0.5]"
    assert to_timm_config(other)["interpolation"] == "box" and from_timm_config(to_timm_config(other), "") == other
    assert timm_preprocessing("efficientnet_b5.sw_in12k_ft_in1k").crop_mode == "squash"


@pytest.mark.parametrize(
    "values", [{"resolution": 10**9}, {"mean": [0.5, "x", 1]}, {"crop": float("nan")}, {"std": [0.0] * 3}, {"more": 1}]
)
def test_damaged_values(values):
    with pytest.raises(ArchitectureError, match="damaged"):
        preprocessing_from({**dataclasses.asdict(OURS), **values})


def recorded(config: str, file: Path) -> Preprocessing | None:
    published = composed(*f"arch={config}".split(), "datamodule=imagenet").published
    return provenance.recorded_preprocessing(str(file), published, lambda: build(config, num_classes=10, device="meta"))


def test_files(tmp_path):
    """A file's own preprocessing comes first, then that of the library release with its names, or its file name."""
    with uninitialised():
        state = build("resnet18", num_classes=10, initialise=False).state_dict()
    torch.save({"state_dict": state, "preprocessing": dataclasses.asdict(OURS)}, tmp_path / "last.ckpt")
    assert recorded("resnet18", tmp_path / "last.ckpt") == OURS
    words = f"arch=resnet18 datamodule=imagenet pretrained={tmp_path / 'last.ckpt'}"
    assert derived.eval_preprocessing(completed("evaluate", words)) == OURS
    torch.save(state, tmp_path / "ours.pth")
    assert recorded("resnet18", tmp_path / "ours.pth") is None
    torch.save(libraries.to_torchvision(state), tmp_path / "resnet18-f37072fd.pth")
    assert recorded("resnet18", tmp_path / "resnet18-f37072fd.pth") == torchvision_preprocessing("resnet18")
    os.link(tmp_path / "resnet18-f37072fd.pth", tmp_path / "weights.pth")
    guessed = recorded("resnet18", tmp_path / "weights.pth")
    assert "or timm's resnet18.a1_in1k, 288 px, crop 1, bicubic" in guessed.source  # both libraries have these names
    assert guessed == dataclasses.replace(torchvision_preprocessing("resnet18"), source=guessed.source)


def test_folder_of_timms_hub(tmp_path):
    from safetensors.torch import save_file

    save_file(build("timm", num_classes=10).state_dict(), tmp_path / "model.safetensors")
    config = {**to_timm_config(OURS), "tag": "mine"}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": config}))
    found = recorded("timm", tmp_path / "model.safetensors")
    assert found == dataclasses.replace(OURS, source="timm's resnet18.mine")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArchitectureError, match="config.json is damaged"):
        recorded("timm", tmp_path / "model.safetensors")


def completed(door: str, words: str) -> DictConfig:
    """The completed config of a command."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(door, words.split(), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    try:
        return complete(cfg)
    finally:
        HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("datamodule=imagenet", (288, 1.0, "bicubic")),
        ("datamodule=imagenet resolution=224 crop=0.9", (224, 0.9, "bicubic")),
        ("datamodule=imagenet recipe.test_res=224 recipe.interpolation=bilinear", (224, 1.0, "bilinear")),
        ("datamodule=imagenet recipe=rsb_a2", (224, 0.95, "bicubic")),
        ("datamodule=cifar10", (288, 1.0, "bilinear")),
    ],
)
def test_evaluation_takes_the_weights_preprocessing_unless_overridden(words, expected):
    """timm's ResNet-50 was tested at 288 pixels. Images that all have one size are resized without a crop."""
    found = derived.eval_preprocessing(completed("evaluate", f"arch=resnet50 pretrained=timm {words}"))
    assert (found.resolution, found.crop, found.interpolation) == expected
    assert found.mean == (0.485, 0.456, 0.406)


def test_training_takes_the_weights_mean_and_deviation():
    """Resolution and crop stay the recipe's; data with another number of channels keep their own mean and deviation."""
    words = "arch=inception_v3 pretrained=timm datamodule={} "
    cfg, plain = completed("train", words.format("imagenet")), composed("arch=inception_v3", "datamodule=imagenet")
    assert cfg.datamodule.mean == cfg.datamodule.std == [0.5, 0.5, 0.5]
    assert cfg.recipe == plain.recipe
    cfg = completed("train", words.format("cifar10") + "datamodule.std=[0.1,0.2,0.3]")
    assert cfg.datamodule.mean == [0.5, 0.5, 0.5] and cfg.datamodule.std == [0.1, 0.2, 0.3]
    assert completed("train", words.format("digits")).datamodule.mean == [0.3047]


def test_unsupported_crop_mode():
    words = "arch=efficientnet_b5 pretrained=timm datamodule=imagenet"
    with pytest.raises(UserError, match="crop_mode squash"):
        completed("evaluate", words)
    assert derived.eval_preprocessing(completed("evaluate", f"{words} crop=1")).resolution == 448
