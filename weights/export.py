"""Weights out: a network as timm, torchvision, safetensors, ONNX or torch.export have it.

What is written is read back by the library that it is for, and has to give the network's own logits, before it stands
at its place. Beside the weights goes what whoever uses them has to know: how images are shown, and what classes mean.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archs.arguments import ArchitectureError
from weights.checkpoint import Tensors, read_weights
from weights.counterparts import their_names
from weights.preprocessing import Preprocessing, timm_record
from weights.released import is_timms

TOLERANCE = 1e-5  # of max |a - b| / max |b| of float32 logits

# Arguments that timm's builder of MobileNets and EfficientNets takes by other names; other builders have neither.
AS_TIMM = {"norm_eps": "bn_eps", "act": "act_layer"}
TAKE_THEM = ("mobilenet", "efficientnet")


@dataclass(frozen=True)
class Model:
    """A network in evaluation mode, and what goes with it.

    arch: its arguments. published: by library the name of its counterpart and the arguments that this needs.
    shown: how it is shown images. labels: a name for each class.
    """

    network: nn.Module
    arch: Mapping[str, Any]
    published: Mapping[str, Any]
    shown: Preprocessing
    labels: list[str]


def export(model: Model, to: str, place: Path) -> str:
    """Write the network to a file, for timm to a folder; returns how it was read back, in words.

    Args:
        to: one of FORMATS.

    Raises:
        ArchitectureError: the library has no such network, or cannot take it; what is read back answers otherwise; a
            package is missing. Nothing is left then.
    """
    part = place.with_name(f"part-{place.name}")
    size = (len(model.shown.mean), model.shown.resolution, model.shown.resolution)
    images = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad():
            answers, how = FORMATS[to](model, part, images)
            expected = model.network(images)
        difference = float((answers - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:
            raise ArchitectureError(f"to={to}: {how} answers otherwise: its logits differ by {difference:.1e}.")
        os.replace(part, place)
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    return f"by {how}: the same logits within {difference:.1e}"


# ---- timm and torchvision: their names, their networks


def to_timm(state_dict: Mapping[str, Tensor]) -> Tensors:
    """Our weights by timm's names and shapes: `timm_model.load_state_dict(to_timm(network.state_dict()))`.

    Auxiliary heads, which only training uses, are left out.

    Raises:
        ArchitectureError: timm has no such network.
    """
    return _renamed(state_dict, "timm")


def to_torchvision(state_dict: Mapping[str, Tensor]) -> Tensors:
    """As `to_timm`, by torchvision's names."""
    return _renamed(state_dict, "torchvision")


def _renamed(state_dict: Mapping[str, Tensor], library: str) -> Tensors:
    kept = {name: tensor for name, tensor in state_dict.items() if not name.startswith("aux")}
    names = their_names(kept, library)
    if names is None:
        raise ArchitectureError(f"{library} has no network with a place for {next(iter(kept))}, ...")
    renamed: Tensors = {}
    for name, tensor in kept.items():
        theirs, _, kernel = names[name].partition(" ")
        side = [int(length) for length in kernel.split("x")] if kernel else []
        renamed[theirs] = tensor.reshape(tensor.shape[0], -1, *side) if side else tensor
    return renamed


def _timm(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """A folder in the layout of timm's hub: model.safetensors and config.json."""
    import timm
    from timm.models import save_for_hf

    name = _counterpart(model, "timm").partition(".")[0]
    options = {"num_classes": len(model.labels), "in_chans": len(model.shown.mean)}
    options |= _arguments(model, "timm", AS_TIMM if name.startswith(TAKE_THEM) else {})
    theirs: Any = timm.create_model(name, **options)
    tensors = dict(model.network.state_dict()) if is_timms(model.network) else to_timm(model.network.state_dict())
    _put(tensors, theirs, f"timm's {name}")
    options.pop("num_classes")
    record = {**timm_record(model.shown), "test_input_size": None, "test_crop_pct": None, "tag": "", "fixed_input_size": False}
    config = {"label_names": model.labels, "pretrained_cfg": record, "model_args": options}
    save_for_hf(theirs, str(part), model_config=config, safe_serialization=True)
    with _one_line(f"timm's {name}"):
        back = timm.create_model(f"local-dir:{part}", pretrained=True)
    return back.eval()(images), 'timm.create_model("local-dir:FOLDER", pretrained=True)'


def _torchvision(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    import torchvision

    name = _counterpart(model, "torchvision").partition(".")[0]
    _arguments(model, "torchvision", {})
    options = {"aux_logits": False, "init_weights": False} if name.startswith("inception") else {}
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None, num_classes=len(model.labels), **options)
    tensors = to_torchvision(model.network.state_dict())
    _put(tensors, theirs, f"torchvision's {name}")
    torch.save(tensors, part)
    theirs.load_state_dict(torch.load(part, weights_only=True), assign=True)
    words = "".join(f", {key}={value}" for key, value in options.items())
    how = f'torchvision.models.get_model("{name}", num_classes={len(model.labels)}{words}).load_state_dict(FILE\'s)'
    return theirs.eval()(images), how


def _counterpart(model: Model, library: str) -> str:
    entry = model.published.get(library)
    if not entry:
        others = [other for other in ("timm", "torchvision") if model.published.get(other)]
        hint = f" {others[0]} has one." if others else " to=safetensors, onnx and torch_export take any network."
        raise ArchitectureError(f"to={library}: it has no such network.{hint}")
    return str(entry["name"])


def _arguments(model: Model, library: str, known: Mapping[str, str]) -> dict[str, Any]:
    """The arguments under which theirs computes what ours does, where they differ from those of its releases."""
    given: dict[str, Any] = {}
    for key, value in model.published[library].items():
        mine = model.arch.get(key)
        if key == "name" or mine == value:
            continue
        if key not in known:
            raise ArchitectureError(f"to={library}: its network has arch.{key}={value}, and this one arch.{key}={mine}.")
        given[known[key]] = mine
    return given


def _put(tensors: Tensors, theirs: nn.Module, title: str) -> None:
    """Load tensors if theirs has a place for each, and no other places."""
    places = theirs.state_dict()
    for name in dict.fromkeys((*tensors, *places)):
        here, there = (tuple(one[name].shape) if name in one else "missing" for one in (tensors, places))
        if here != there:
            raise ArchitectureError(f"{title} is another network: {name} is {here} here, and {there} there.")
    theirs.load_state_dict(tensors, assign=next(theirs.parameters()).is_meta)


# ---- formats that take any network


def _safetensors(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """Our names, and in the header arch, preprocessing and labels as JSON."""
    from safetensors.torch import save_file

    facts = {"arch": dict(model.arch), "preprocessing": asdict(model.shown), "labels": model.labels}
    header = {key: json.dumps(value) for key, value in facts.items()}
    save_file({k: t.contiguous() for k, t in model.network.state_dict().items()}, part, {"format": "pt", **header})
    twin = copy.deepcopy(model.network)
    for parameter in twin.parameters():
        parameter.zero_()
    twin.load_state_dict(read_weights(part).tensors)
    return twin(images), "safetensors, which pretrained=FILE takes"


def _onnx(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """Any number of images at a time; what goes with the network is in the file's metadata."""
    with _one_line("ONNX"):
        try:
            import onnxruntime
            import onnxscript  # noqa: F401  # torch.onnx needs it
        except ImportError as error:
            raise ArchitectureError("to=onnx needs three packages: pip install onnx onnxscript onnxruntime") from error
        program: Any = torch.onnx.export(
            model.network,
            (images[:2],),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    facts = {"labels": model.labels, **timm_record(model.shown)}
    program.model.metadata_props.update({key: json.dumps(value) for key, value in facts.items()})
    program.save(str(part))
    session = onnxruntime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), "onnxruntime.InferenceSession(FILE)"


def _torch_export(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """As ONNX; labels and preprocessing are the archive's extra file, facts.json."""
    with _one_line("torch.export"):
        program = torch.export.export(
            model.network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    facts = json.dumps({"labels": model.labels, "preprocessing": asdict(model.shown)})
    torch.export.save(program, part, extra_files={"facts.json": facts})
    return torch.export.load(part).module()(images), "torch.export.load(FILE).module()"


@contextmanager
def _one_line(title: str) -> Iterator[None]:
    """What a library says of a network that it cannot take, in a line."""
    try:
        yield
    except ArchitectureError:
        raise
    except Exception as error:  # whatever it may raise
        reason = str(error).strip().split("\n")[0]
        raise ArchitectureError(f"{title} cannot take this network ({type(error).__name__}: {reason}).") from error


FORMATS: dict[str, Callable[[Model, Path, Tensor], tuple[Tensor, str]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "torch_export": _torch_export,
}
