"""Our networks as timm's and torchvision's: our weights with their names, in their modules."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineage.archs.arguments import ArchitectureError
from lineage.weights.checkpoint import Tensors
from lineage.weights.counterparts import their_names
from lineage.weights.preprocessing import LIBRARIES, Preprocessing, to_timm_config
from lineage.weights.provenance import is_timm_model

# Our arguments that timm's builder of MobileNets and EfficientNets has under other names; its other builders lack them.
TIMM_ARGUMENTS = {"norm_eps": "bn_eps", "act": "act_layer"}
WITH_TIMM_ARGUMENTS = ("mobilenet", "efficientnet")


@dataclass(frozen=True)
class Model:
    """A network in evaluation mode, and what its users need to know."""

    network: nn.Module
    arch: Mapping[str, Any]  # its arguments
    published: Mapping[str, Any]  # by library: the name of the same network there, and its arguments there
    preprocessing: Preprocessing  # of the images
    labels: list[str]  # a name for each class


def renamed(state_dict: Mapping[str, Tensor], library: str) -> Tensors:
    """Our weights with the library's names and shapes: `model.load_state_dict(to_timm(network.state_dict()))`.

    Auxiliary heads, which only training uses, are left out. Raises ArchitectureError: it has no such network.
    """
    kept = {name: tensor for name, tensor in state_dict.items() if not name.startswith("aux")}
    names = their_names(kept, library)
    if names is None:
        raise ArchitectureError(f"{library} has no network with a place for {next(iter(kept))}, ...")
    found: Tensors = {}
    for name, tensor in kept.items():
        their_name, _, kernel = names[name].partition(" ")
        if kernel:  # (O, I k k) of our linear layer -> (O, I, k, k) of their convolution
            tensor = tensor.reshape(tensor.shape[0], -1, *map(int, kernel.split("x")))
        found[their_name] = tensor
    return found


to_timm, to_torchvision = partial(renamed, library="timm"), partial(renamed, library="torchvision")


def write_timm(model: Model, folder: Path, images: Tensor) -> tuple[Tensor, str]:
    """Write model.safetensors and config.json, as timm's hub lays them out. Returns as the formats of export.py do."""
    import timm
    from timm.models import save_for_hf

    name = _counterpart(model, "timm").partition(".")[0]
    options: dict[str, Any] = {"in_chans": len(model.preprocessing.mean)}
    options |= _differing_arguments(model, "timm", TIMM_ARGUMENTS if name.startswith(WITH_TIMM_ARGUMENTS) else {})
    theirs: Any = timm.create_model(name, num_classes=len(model.labels), **options)
    tensors = dict(model.network.state_dict()) if is_timm_model(model.network) else to_timm(model.network.state_dict())
    _load_all(tensors, theirs, f"timm's {name}")
    none = {"test_input_size": None, "test_crop_pct": None, "tag": "", "fixed_input_size": False}
    pretrained = to_timm_config(model.preprocessing) | none
    config = {"label_names": model.labels, "pretrained_cfg": pretrained, "model_args": options}
    save_for_hf(theirs, str(folder), model_config=config, safe_serialization=True)
    with errors_in_a_line(f"timm's {name}"):
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return loaded.eval()(images), 'timm.create_model("local-dir:FOLDER", pretrained=True)'


def write_torchvision(model: Model, file: Path, images: Tensor) -> tuple[Tensor, str]:
    """Write a state_dict for torchvision's model. Returns as the formats of export.py do."""
    import torchvision

    name = _counterpart(model, "torchvision").partition(".")[0]
    _differing_arguments(model, "torchvision", {})
    options = {"aux_logits": False, "init_weights": False} if name.startswith("inception") else {}
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None, num_classes=len(model.labels), **options)
    tensors = to_torchvision(model.network.state_dict())
    _load_all(tensors, theirs, f"torchvision's {name}")
    torch.save(tensors, file)
    theirs.load_state_dict(torch.load(file, weights_only=True), assign=True)
    arguments = "".join(f", {key}={value}" for key, value in {"num_classes": len(model.labels), **options}.items())
    return theirs.eval()(images), f'torchvision.models.get_model("{name}"{arguments}).load_state_dict(FILE\'s)'


def _counterpart(model: Model, library: str) -> str:
    """The name of the network's weights in the library. Raises ArchitectureError: the library lacks the network."""
    entry = model.published.get(library)
    if not entry:
        others = [other for other in LIBRARIES if model.published.get(other)]
        hint = f" {others[0]} has one." if others else " to=safetensors, onnx and torch_export take any network."
        raise ArchitectureError(f"to={library}: it has no such network.{hint}")
    return str(entry["name"])


def _differing_arguments(model: Model, library: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The arguments in which this network differs from the library's, with the library's names for them.

    Raises ArchitectureError: the library's builder has no such argument.
    """
    found: dict[str, Any] = {}
    for key, value in model.published[library].items():
        ours = model.arch.get(key)
        if key == "name" or ours == value:
            continue
        if key not in names:
            raise ArchitectureError(f"to={library}: its network has arch.{key}={value}, and this one has {ours}.")
        found[names[key]] = ours
    return found


def _load_all(tensors: Tensors, network: nn.Module, title: str) -> None:
    """Load the tensors. Raises ArchitectureError unless names and shapes are exactly the network's."""
    places = network.state_dict()
    for name in dict.fromkeys((*tensors, *places)):
        here, there = (tuple(side[name].shape) if name in side else "missing" for side in (tensors, places))
        if here != there:
            raise ArchitectureError(f"{title} is another network: {name} is {here} here, and {there} there.")
    network.load_state_dict(tensors, assign=next(network.parameters()).is_meta)


@contextmanager
def errors_in_a_line(title: str) -> Iterator[None]:
    """Turn whatever a library raises about a network into an ArchitectureError of one line."""
    try:
        yield
    except ArchitectureError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ArchitectureError(f"{title} cannot take this network ({type(error).__name__}: {reason}).") from error
