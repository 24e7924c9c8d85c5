"""Exported networks load in the libraries that they are for. test_evaluate.py tests the command."""

import json
import sys

import pytest
import torch
from networks import build
from porting import difference

from lineage.archs.arguments import ArchitectureError
from lineage.weights.checkpoint import read_weights
from lineage.weights.export import export
from lineage.weights.libraries import Model
from lineage.weights.preprocessing import Preprocessing, from_timm_config

PREPROCESSING = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 64, 0.95, "bicubic")
LABELS = ["ant", "bee", "cat"]


def model(
    config: str, preprocessing: Preprocessing = PREPROCESSING, published: dict | None = None, **arguments
) -> Model:
    """A network after a step of batch normalisation, so that none of its tensors is all ones or zeros."""
    torch.manual_seed(0)
    words, channels = [f"arch.{key}={value}" for key, value in arguments.items()], len(preprocessing.mean)
    network = build(" ".join([config, *words]), num_classes=3, channels=channels)
    network.train()(torch.randn(4, channels, preprocessing.resolution, preprocessing.resolution))
    return Model(network.eval(), arguments, published or {}, preprocessing, LABELS)


def logit_difference(network, exported: Model, count: int = 2) -> float:
    """Largest relative difference of a library's logits from ours, on other images than the export compared."""
    images = torch.randn(count, len(exported.preprocessing.mean), 64, 64)
    with torch.no_grad():
        return difference(network(images), exported.network(images))


@pytest.mark.parametrize("channels", [3, 1])
def test_timm(tmp_path, channels):
    """A folder that timm loads, with its preprocessing, even with another epsilon than timm's releases have."""
    import timm

    preprocessing = PREPROCESSING if channels == 3 else Preprocessing((0.3,), (0.3,), 64, 1.0, "bilinear")
    published = {"timm": {"name": "mobilenetv2_100", "norm_eps": 1e-5}}
    exported = model("mobilenet_v2", preprocessing, published, norm_eps=1e-3)
    export(exported, "timm", tmp_path / "folder")
    back = timm.create_model(f"local-dir:{tmp_path}/folder", pretrained=True).eval()
    assert logit_difference(back, exported) < 1e-5
    assert from_timm_config(back.pretrained_cfg, "") == preprocessing
    assert json.loads((tmp_path / "folder" / "config.json").read_text())["label_names"] == LABELS
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert read_weights(tmp_path / "folder" / "model.safetensors").preprocessing.size == preprocessing.size


def test_torchvision(tmp_path):
    import torchvision

    published = {"torchvision": {"name": "resnet18", "stride_in_1x1": False}}
    exported = model("resnet18", published=published, stride_in_1x1=False)
    export(exported, "torchvision", tmp_path / "a.pth")
    back = torchvision.models.resnet18(num_classes=3)
    back.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True))
    assert logit_difference(back.eval(), exported) < 1e-5


def test_safetensors(tmp_path):
    exported = model("resnet_cifar", depth=8)
    export(exported, "safetensors", tmp_path / "a.safetensors")
    saved = read_weights(tmp_path / "a.safetensors")
    assert saved.preprocessing == PREPROCESSING and saved.arch == {"depth": 8}
    assert all(torch.equal(tensor, saved.tensors[name]) for name, tensor in exported.network.state_dict().items())


@pytest.mark.proofs
def test_torch_export(tmp_path):
    exported = model("resnet_cifar", depth=8)
    export(exported, "torch_export", tmp_path / "a.pt2")
    extra = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    assert logit_difference(program.module(), exported, count=5) < 1e-6
    assert json.loads(extra["metadata.json"])["labels"] == LABELS


@pytest.mark.proofs
def test_onnx(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install onnx onnxscript onnxruntime")
    exported = model("resnet_cifar", depth=8)
    export(exported, "onnx", tmp_path / "a.onnx")
    session = runtime.InferenceSession(tmp_path / "a.onnx")
    metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert metadata["labels"] == LABELS and from_timm_config(metadata, "") == PREPROCESSING
    run = lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])  # noqa: E731
    assert logit_difference(run, exported, count=5) < 1e-5


RESNET = {"timm": {"name": "resnet18"}, "torchvision": {"name": "resnet18"}}


@pytest.mark.parametrize(
    ("config", "to", "published", "sentence"),
    [
        ("resnet_cifar", "timm", {}, "no such network. to=safetensors"),
        ("se_resnet50", "torchvision", {"timm": {"name": "legacy_seresnet50"}}, "no such network. timm has one"),
        ("resnet18 arch.stem=cifar", "timm", RESNET, "conv1.weight is .64, 3, 3, 3. here, and .64, 3, 7, 7. there"),
        ("resnet34", "torchvision", RESNET, "another network: layer1.2"),
        ("resnet18", "timm", {"timm": {"name": "resnet18", "ceil_pool": True}}, "ceil_pool=True, and this one has Non"),
    ],
)
def test_what_a_library_cannot_take(tmp_path, config, to, published, sentence):
    exported = Model(build(config, num_classes=3, initialise=False).eval(), {}, published, PREPROCESSING, LABELS)
    with pytest.raises(ArchitectureError, match=sentence):
        export(exported, to, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "value"), [(" arch.ceil_pool=true", 0.0), ("", float("nan"))])
def test_other_logits(tmp_path, words, value):
    """Nothing is written if the library's network gives other logits than ours, or logits that are no numbers."""
    exported = model(f"resnet18{words}", published=RESNET)
    exported.network.head.linear.bias.data[0] += value
    with pytest.raises(ArchitectureError, match="gives other logits: they differ by"):
        export(exported, "torchvision", tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())


def test_onnx_without_its_packages(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ArchitectureError, match="pip install onnx onnxscript onnxruntime"):
        export(model("resnet_cifar", depth=8), "onnx", tmp_path / "a.onnx")
