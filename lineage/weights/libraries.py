"""Our networks as timm's and torchvision's own: their names for our weights, their networks around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineage.archs.arguments import ArchitectureError
from lineage.weights.checkpoint import Tensors
from lineage.weights.counterparts import their_names
from lineage.weights.preprocessing import LIBRARIES, Preprocessing, to_timm_config
from lineage.weights.provenance import is_timm_model

# Arguments that timm's builder of MobileNets and EfficientNets takes by other names; other builders have neither.
AS_TIMM = {"norm_eps": "bn_eps", "act": "act_layer"}
TAKE_THEM = ("mobilenet", "efficientnet")


@dataclass(frozen=True)
class Model:
    """A network in evaluation mode, and what goes with it.

    arch: its arguments. published: by library the name of its counterpart and the arguments that this needs.
    preprocessing: how its images are preprocessed. labels: a name for each class.
    """

    network: nn.Module
    arch: Mapping[str, Any]
    published: Mapping[str, Any]
    preprocessing: Preprocessing
    labels: list[str]


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


def write_timm(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """A folder in the layout of timm's hub: model.safetensors and config.json."""
    import timm
    from timm.models import save_for_hf

    name = _counterpart(model, "timm").partition(".")[0]
    options: dict[str, Any] = {"num_classes": len(model.labels), "in_chans": len(model.preprocessing.mean)}
    options |= _arguments(model, "timm", AS_TIMM if name.startswith(TAKE_THEM) else {})
    theirs: Any = timm.create_model(name, **options)
    tensors = dict(model.network.state_dict()) if is_timm_model(model.network) else to_timm(model.network.state_dict())
    _put(tensors, theirs, f"timm's {name}")
    options.pop("num_classes")
    record = {
        **to_timm_config(model.preprocessing),
        "test_input_size": None,
        "test_crop_pct": None,
        "tag": "",
        "fixed_input_size": False,
    }
    config = {"label_names": model.labels, "pretrained_cfg": record, "model_args": options}
    save_for_hf(theirs, str(part), model_config=config, safe_serialization=True)
    with one_line(f"timm's {name}"):
        back = timm.create_model(f"local-dir:{part}", pretrained=True)
    return back.eval()(images), 'timm.create_model("local-dir:FOLDER", pretrained=True)'


def write_torchvision(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
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
        others = [other for other in LIBRARIES if model.published.get(other)]
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
            raise ArchitectureError(f"to={library}: its network has arch.{key}={value}, and this one has {mine}.")
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


@contextmanager
def one_line(title: str) -> Iterator[None]:
    """What a library says of a network that it cannot take, in a line."""
    try:
        yield
    except ArchitectureError:
        raise
    except Exception as error:  # whatever it may raise
        reason = str(error).strip().split("\n")[0]
        raise ArchitectureError(f"{title} cannot take this network ({type(error).__name__}: {reason}).") from error
