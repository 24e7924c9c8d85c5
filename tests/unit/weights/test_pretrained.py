"""Weights of torchvision's and timm's networks, made here, in our networks and back; files of weights; freezing."""

import os
import re
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import checks
import pytest
import timm
import torch
import torchvision
from doors import ROOT, finished, refused, results
from networks import WRONG, build, composed, dataset_of, proofs, rows, uninitialised
from omegaconf import OmegaConf
from oracles import CLASSES, build_oracle, case, cases, quick
from porting import difference, randomise
from safetensors.torch import save_file
from torch import nn

import lineage
from lineage.archs import catalogue
from lineage.archs.arguments import ArchitectureError
from lineage.weights import counterparts, freezing, libraries, released
from lineage.weights.checkpoint import Weights, read_weights
from lineage.weights.preprocessing import LIBRARIES, Preprocessing
from lineage.weights.provenance import library_preprocessing, torchvision_preprocessing

CASES = [compared for compared in cases() if compared.source != "pytorchcv"]
TO = {"timm": libraries.to_timm, "torchvision": libraries.to_torchvision}
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 0.875, "bilinear")


def load(network: nn.Module, file: Path | str, published: Mapping | None = None, **options) -> list[str]:
    return released.load(network, str(file), {}, published or {}, IMAGENET, **options)


def saved(oracle: nn.Module, folder: Path) -> Path:
    """A file with the weights of a library's network."""
    torch.save(oracle.state_dict(), folder / "theirs.pth")
    return folder / "theirs.pth"


def is_equal(found: Mapping, expected: Mapping) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize("compared", [*quick("weights"), *proofs(CASES, quick("weights"))], ids=str)
def test_round_trip(compared, tmp_path):
    """With a file of their weights, our network has their logits; with our weights, theirs has ours."""
    images = checks.noise(2, 3, compared.image, compared.image, dtype=torch.float64)
    oracle = build_oracle(compared).double()
    randomise(oracle, images)
    network = build(compared.config, num_classes=CLASSES, initialise=False).double()
    notes = load(network, saved(oracle, tmp_path))
    assert "auxiliary" in "".join(notes[1:]) or len(notes) == 1
    with torch.no_grad():
        expected = oracle.eval()(images)
        assert difference(network.eval()(images), expected) < checks.TOLERANCE["eval"]
        for parameter in oracle.parameters():
            parameter.zero_()
        missing, surplus = oracle.load_state_dict(TO[compared.source](network.state_dict()), strict=False)
        assert all(name.startswith("AuxLogits") for name in missing) and not surplus
        assert difference(oracle(images), expected) < checks.TOLERANCE["eval"]


@pytest.mark.parametrize("compared", CASES, ids=str)
def test_names(compared):
    """Each of our tensors has one of theirs, of the same size, and none of theirs is left."""
    with torch.device("meta"):
        theirs = build_oracle(compared).state_dict()
    ours = build(compared.config, num_classes=CLASSES, device="meta").state_dict()
    names = counterparts.their_names(ours, compared.source)
    assert names is not None
    found = {name: theirs[names[name].split()[0]].numel() for name in ours}
    assert found == {name: tensor.numel() for name, tensor in ours.items()}
    left = theirs.keys() - {name.split()[0] for name in names.values()}
    assert {name.split(".")[0] for name in left} <= {"AuxLogits"}


def test_published_names():
    """conf/arch names the weights and arguments that the golden table has, and their preprocessing is known."""
    for name in sorted(path.stem for path in (ROOT / "conf" / "arch").glob("*.yaml") if path.stem != "timm"):
        cfg = composed(name, dataset_of(name))
        for library in LIBRARIES:
            entry = cfg.published.get(library) or {}
            assert entry.keys() - {"name"} <= cfg.arch.keys(), f"{name}, {library}"
            named = {row.arch: getattr(row, f"{library}_name") for row in rows() if getattr(row, f"{library}_name")}
            found = [arch for arch in named if is_network(arch, name, dict(cfg.arch) | dict(entry))]
            assert entry.get("name") == (named[found[0]] if found else None), f"{name}, {library}"
            for arch in found[:1]:  # the arguments that the comparison of the two needs are published
                assert is_network(case(arch, library, named[arch]).config, name, dict(cfg.arch) | dict(entry))
                preprocessing = library_preprocessing(library, named[arch])
                assert preprocessing is None or preprocessing.resolution <= 600


def is_network(config: str, name: str, arguments: Mapping) -> bool:
    """Whether a row of the golden table is this network with these arguments."""
    first, *words = config.split()
    given = OmegaConf.from_dotlist(words).get("arch", {})
    return first == name and all(arguments[key] == value for key, value in given.items())


def test_networks_without_counterpart():
    for config in ("googlenet", "inception_v2", "lenet5", "bn_inception", "vgg16_bn arch.se=true"):
        state = build(config, device="meta").state_dict()
        assert counterparts.their_names(state, "timm") is None, config
        with pytest.raises(ArchitectureError, match="timm has no network"):
            libraries.to_timm(state)


def test_another_head_and_other_channels(tmp_path):
    """The classifier is new and the rest is loaded; a grey image gives the features of its copy in three channels."""
    oracle = build_oracle(case("mobilenet_v2", "timm", "mobilenetv2_100"))
    network = build("mobilenet_v2 arch.norm_eps=1e-5", num_classes=7, channels=1)
    notes = load(network, theirs := saved(oracle, tmp_path))
    assert any("head.linear is new: 7 classes, and a classifier of 10 classes" in note for note in notes)
    assert any("3 channels are summed, to 1" in note for note in notes)
    grey = checks.noise(2, 1, 64, 64)
    with torch.no_grad():
        features = network.eval().forward_features(grey)
        assert difference(features, oracle.eval().forward_features(grey.expand(-1, 3, -1, -1))) < 1e-4
    six = build("mobilenet_v2 arch.norm_eps=1e-5", num_classes=7, channels=6).eval()
    load(six, theirs)
    with torch.no_grad():
        assert difference(six.forward_features(grey.expand(-1, 6, -1, -1)), features) < 1e-4


def test_the_preprocessing_that_a_file_needs(tmp_path):
    """The note about a file of timm's EfficientNet-B1 names its preprocessing, and where that of the run differs."""
    theirs = str(saved(build_oracle(case("efficientnet_b1", "timm", "efficientnet_b1")), tmp_path))
    network, cfg = build("efficientnet_b1", num_classes=10), composed("efficientnet_b1 arch.norm_eps=1e-5", "imagenet")
    notes = released.load(network, theirs, cfg.arch, cfg.published, IMAGENET)
    expected, _, here = notes[0].partition("; here ")
    assert "the preprocessing of timm's efficientnet_b1." in expected and "mean [0.5,0.5,0.5]" in expected
    assert "bilinear" in here and "mean [0.485,0.456,0.406]" in here


@pytest.mark.parametrize(("config", "library", "name", "sentence"), WRONG["weights_for_other_arguments"])
def test_weights_for_other_arguments(config, library, name, sentence, tmp_path):
    """Arguments that no shape shows."""
    with uninitialised():
        file = saved(build_oracle(case(config.split()[0], library, name)), tmp_path)
    cfg, network = composed(config, "imagenet"), build(config, num_classes=CLASSES, initialise=False)
    with pytest.raises(ArchitectureError, match=sentence):
        released.load(network, str(file), cfg.arch, cfg.published, IMAGENET)


@pytest.mark.parametrize(("config", "sentence"), WRONG["weights_of_resnet18"].items())
def test_weights_of_another_network(config, sentence, tmp_path):
    file = saved(build_oracle(case("resnet18", "torchvision", "resnet18")), tmp_path)
    network = build(config, dataset="imagenet", num_classes=CLASSES)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ArchitectureError, match=sentence):
        load(network, file)
    assert is_equal(network.state_dict(), before)  # all or none


@pytest.mark.parametrize("left", [{"head.linear.weight", "head.linear.bias"}, set()], ids=["backbone", "whole"])
def test_missing_classifier(left, tmp_path):
    """A backbone, or weights of other classes: a note if the head will be trained, an error in an evaluation."""
    network = build("resnet_cifar arch.depth=8", num_classes=7)
    state = build("resnet_cifar arch.depth=8").state_dict()
    torch.save({name: tensor for name, tensor in state.items() if name not in left}, tmp_path / "weights.pth")
    notes = load(network, tmp_path / "weights.pth")
    there = "no classifier" if left else "a classifier of 10 classes"
    assert f"head.linear is new: 7 classes, and {there} in the weights" in notes
    with pytest.raises(ArchitectureError, match=f"have {there}, and the data have 7: evaluation needs"):
        load(network, tmp_path / "weights.pth", new_head=False)
    whole = build("resnet_cifar arch.depth=8", num_classes=7)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    assert len(load(whole, tmp_path / "weights.pth", new_head=False)) == 1


def test_auxiliary_heads_are_left_out():
    network = build("resnet_cifar arch.depth=8")
    weights = Weights("a file", {**network.state_dict(), "AuxLogits.fc.bias": torch.zeros(10)})
    assert released.fill(network, weights) == ["the weights' auxiliary head is left out"]


def test_hidden_layers_are_not_classifiers():
    """Another width of VGG's hidden layers is an error, not another number of classes."""
    state = build("vgg11", num_classes=7, device="meta").state_dict()
    state["head.2.weight"] = torch.empty(5, 25088, device="meta")
    with pytest.raises(ArchitectureError, match="head.2.weight is .4096, 25088., and .5, 25088. there"):
        released.fill(build("vgg11", num_classes=7, device="meta"), Weights("a file", state))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": {f"model.{name}": t for name, t in state.items()} | {"loss.pos": torch.ones(1)}},
        lambda state: {"state_dict": {f"module._orig_mod.net.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {name: 0 * tensor for name, tensor in state.items()}, "state_dict_ema": state},
    ],
    ids=["DistributedDataParallel", "compile", "model", "Lightning", "all", "averaged"],
)
def test_wrappings(wrap, tmp_path):
    """Keys and prefixes of training scripts are removed."""
    state = {name: tensor + 1 for name, tensor in build("resnet_cifar arch.depth=8").state_dict().items()}
    torch.save(wrap(state), tmp_path / "weights.pth")
    found = read_weights(tmp_path / "weights.pth").tensors
    assert found.keys() == state.keys() and is_equal(found, state)


def test_files(tmp_path):
    """A checkpoint of a run, whose averaged weights come first; safetensors; files without weights."""
    network = build("resnet_cifar arch.depth=20")
    state = {name: tensor.clone() + 1 for name, tensor in network.state_dict().items()}
    inside = {f"network.{name}": torch.zeros_like(tensor) for name, tensor in state.items()}
    torch.save({"state_dict": inside, "averages": [{"network": state}]}, tmp_path / "last.ckpt")
    load(network, tmp_path / "last.ckpt")
    assert is_equal(network.state_dict(), state)
    torch.save({"state_dict": inside, "averages": []}, tmp_path / "last.ckpt")
    load(network, tmp_path / "last.ckpt")
    assert not any(tensor.any() for tensor in network.state_dict().values())
    save_file(state, tmp_path / "ours.safetensors")
    load(network, tmp_path / "ours.safetensors")
    assert is_equal(network.state_dict(), state)
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    torch.save({"state_dict": print}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("no weights")
    reasons = {"list.pth": "it is a list", "text.pth": "it holds none", "code.pth": r"it would run (builtins\.)?print"}
    for name, reason in reasons.items():
        with pytest.raises(ArchitectureError, match=rf"cannot be read as weights \({reason}\)"):
            load(network, tmp_path / name)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network, and torch's cache is the test's folder."""
    monkeypatch.setattr("urllib.request.urlopen", mock.Mock(side_effect=urllib.error.URLError("no network")))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)


@pytest.mark.parametrize(("library", "name", "sentence"), WRONG["without_a_network"])
def test_no_network(library, name, sentence, offline):
    """The error comes at once, and says what to download and where to put it."""
    with pytest.raises(ArchitectureError, match=sentence):
        load(build("resnet18", device="meta"), library, {library: {"name": name}})


def test_torchvision_loads(tmp_path, offline):
    """By its own loading code, with the epsilon that its weights need; a DenseNet's file has the names of before 2019,
    and loads in place of them too."""
    (tmp_path / "checkpoints").mkdir()
    for name in ("mobilenet_v2", "densenet121"):
        theirs = torchvision.models.get_model(name, weights=None)
        randomise(theirs, images := checks.noise(2, 3, 64, 64))
        state = theirs.state_dict()
        if name == "densenet121":
            old = {re.sub(r"(denselayer.*\.(?:norm|conv))([12])\.", r"\1.\2.", key): state[key] for key in state}
            state = {key: tensor for key, tensor in old.items() if "num_batches" not in key}
        file = tmp_path / "checkpoints" / Path(torchvision.models.get_model_weights(name).DEFAULT.url).name
        torch.save(state, file)
        network = lineage.build(name, pretrained="torchvision")
        assert len(network.notes) == 1 and network.preprocessing == torchvision_preprocessing(name)
        with torch.no_grad():
            assert difference(network.eval()(images), theirs.eval()(images)) < 1e-4
        again = build(name)
        load(again, file)
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters(), strict=True))


def in_cache(repository: str, state: dict) -> None:
    """Write weights into the cache of the hub's client."""
    place = Path(os.environ["HF_HOME"]) / "hub" / f"models--{repository.replace('/', '--')}"
    (place / "snapshots" / "0").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0")
    save_file(state, place / "snapshots" / "0" / "model.safetensors")


def test_fine_tuning(tmp_path):
    """A run starts from timm's weights, says what it replaced, and leaves its frozen part as it was; then evaluation
    and another network start from its checkpoint."""
    torch.manual_seed(0)
    theirs = timm.create_model("mobilenetv2_100", num_classes=1000)
    in_cache("timm/mobilenetv2_100.ra_in1k", theirs.state_dict())
    words = ["arch=mobilenet_v2", "freeze=stages.3", "trainer=debug", "recipe.batch_size=64", "recipe.lr=0.01"]
    finished(tmp_path, "train", *words, "pretrained=timm", "run=a")
    notes = " ".join(results(tmp_path / "runs/a")["notes"])
    started, new = "starts from the weights of timm's mobilenetv2_100.ra_in1k", "head.linear is new: 10 classes"
    for sentence in (started, new, "stem.conv: filters for 3 channels are summed, to 1", "frozen up to stages.3"):
        assert sentence in notes
    ours = read_weights(tmp_path / "runs/a/checkpoints/last.ckpt").tensors
    names = counterparts.their_names(ours, "timm")
    given = theirs.state_dict()
    moved = {name for name in ours if name != "stem.conv.weight" and not torch.equal(ours[name], given[names[name]])}
    assert {".".join(name.split(".")[:2]) for name in moved} == {
        "stages.4", "stages.5", "stages.6", "last.conv", "last.norm", "head.linear"
    }  # fmt: skip
    again = build("mobilenet_v2", num_classes=10, channels=1)
    load(again, tmp_path / "runs/a/checkpoints/last.ckpt", new_head=False)
    assert is_equal(again.state_dict(), ours)
    finished(tmp_path, "evaluate", "run=a", "trainer=debug")


def test_released_weights_evaluate(tmp_path):
    """evaluate.py without a run, with timm's weights; a classifier of random weights is refused."""
    network = timm.create_model("resnet10t", num_classes=1000)
    in_cache("timm/resnet10t.c3_in1k", network.state_dict())
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    words = ["arch=timm", "arch.model_name=resnet10t", "trainer=debug"]
    said = refused(tmp_path, "evaluate", *words, "pretrained=weights.pth")
    assert "evaluation needs weights with a classifier for these data" in said
    words += ["pretrained=timm", "datamodule.num_classes=1000", "resolution=32"]
    said = " ".join(finished(tmp_path, "evaluate", *words).stdout.split())
    assert "starts from the weights of timm's resnet10t.c3_in1k, which expect 224 px, crop 0.95, bicubic" in said
    assert "; here 32 px" in said


@pytest.mark.parametrize("config", ["resnet18", "nasnet_a_mobile", "googlenet", "timm", "densenet121"])
def test_freeze(config):
    """Everything up to the part is frozen, its normalisation too, and nothing after it."""
    network = build(config, num_classes=7)
    parts = freezing.trainable_parts(network)
    middle = parts[len(parts) // 2]
    freezing.freeze(network, middle)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    belongs = {name: part for name, _ in network.named_parameters() for part in parts if name.startswith(f"{part}.")}
    assert frozen == {name for name, part in belongs.items() if parts.index(part) <= parts.index(middle)}
    assert frozen
    in_evaluation = {part: not network.get_submodule(part).training for part in parts}
    assert in_evaluation == {part: parts.index(part) <= parts.index(middle) for part in parts}
    with pytest.raises(ArchitectureError, match="it is one of"):
        freezing.freeze(network, "head")


def test_a_checkpoint_states_its_arguments(tmp_path):
    """No shape shows whether the stride is in the first 1x1 or in the 3x3, but a run's checkpoint states it."""
    cfg = composed("resnet50", "imagenet").copy()
    network = build("resnet50", num_classes=CLASSES)
    inside = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    arch = OmegaConf.to_container(cfg.arch, resolve=True) | {"dropout": 0.5, "stride_in_1x1": True}
    torch.save({"state_dict": inside, "averages": [], "arch": arch}, tmp_path / "last.ckpt")
    with pytest.raises(ArchitectureError, match="of arch.stride_in_1x1=true, and this one has .*=false"):
        released.load(network, str(tmp_path / "last.ckpt"), cfg.arch, cfg.published, IMAGENET)
    cfg.arch.stride_in_1x1 = True
    assert len(released.load(network, str(tmp_path / "last.ckpt"), cfg.arch, cfg.published, IMAGENET)) == 1


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "vgg11", "mobilenet_v2"])
def test_weights_without_a_classifier_here(tmp_path, name):
    whole = catalogue.build(name, num_classes=10, in_channels=3, resolution=32)
    torch.save(whole.state_dict(), tmp_path / "own.pt")
    features = lineage.build(name, num_classes=0, in_channels=3, resolution=32, pretrained=str(tmp_path / "own.pt"))
    assert any("classifier of 10 classes is left out" in note for note in features.notes)
    state = whole.state_dict()
    assert is_equal(features.state_dict(), state)
    with pytest.raises(ArchitectureError, match="nothing here takes"):
        torch.save({**state, "more.weight": torch.zeros(3, 7)}, tmp_path / "more.pt")
        lineage.build(name, num_classes=0, in_channels=3, resolution=32, pretrained=str(tmp_path / "more.pt"))
