"""Weights as torchvision and timm release them, through their own loading code."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from lineage.archs.arguments import ArchitectureError
from lineage.weights.checkpoint import Tensors
from lineage.weights.preprocessing import Preprocessing


class Weights(NamedTuple):
    """Weights that a library released, or those of a file.

    Attributes:
        title: names them in messages.
        library: whose names the tensors have; None: this project's.
        arch: the arguments of the network, if a run's checkpoint states them.
        preprocessing: of the images that the weights were trained on; None: unknown.
    """

    title: str
    tensors: Tensors
    library: str | None = None
    arch: Mapping[str, Any] = MappingProxyType({})
    preprocessing: Preprocessing | None = None


def torchvision_models(model: str) -> Any:
    """The enumeration of the weights of a torchvision model. Raises ArchitectureError: there are none."""
    import torchvision

    try:
        return torchvision.models.get_model_weights(model)
    except ValueError as error:
        raise ArchitectureError(f"torchvision has no weights {model}: {error}.") from error


def torchvision_weights(name: str) -> Any:
    """ "resnet50" is the model's default weights, "resnet50.IMAGENET1K_V1" others."""
    model, _, version = name.partition(".")
    every = torchvision_models(model)
    try:
        return getattr(every, version or "DEFAULT")
    except AttributeError as error:
        known = ", ".join(weights.name for weights in every)
        raise ArchitectureError(f"torchvision has no weights {name}. Of this model it has: {known}.") from error


def from_torchvision(name: str) -> Weights:
    """torchvision's weights by the name that `torchvision_weights` takes."""
    import torchvision

    weights, model = torchvision_weights(name), name.partition(".")[0]
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not place.exists():
        _require(weights.url, f"torchvision's {name}", f", or put it at {place}")
    network = torchvision.models.get_model(model, weights=weights)
    return Weights(f"torchvision's {model} {weights.name}", network.state_dict(), "torchvision")


def from_timm(name: str, file: str | None = None) -> Weights:
    """timm's weights: "resnet50" is its default ones, "resnet50.a1_in1k" those of a tag; or a file of them."""
    import timm

    release: Any = timm.get_pretrained_cfg(name)
    if file is None:
        if release is None or not (release.hf_hub_id or release.url):
            tags = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}.*")) or "none"
            raise ArchitectureError(f"timm has no weights {name}. Of this model it has: {tags}.")
        file = _local_or_reachable(release, f"timm's {release.architecture}.{release.tag}")
    overlay = {"file": file} if file else None
    try:
        network: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, OSError) as error:
        if file and "state_dict" in str(error):
            raise ArchitectureError(f"pretrained={file}: these weights are of another network than {name}.") from error
        reason = str(error).split("\n")[0]
        raise ArchitectureError(f"timm could not load the weights of {name}: {reason}") from error
    facts = network.pretrained_cfg
    title = f"timm's {facts['architecture']}.{facts['tag']}"
    return Weights(title, network.state_dict(), "timm")


def _local_or_reachable(release: Any, title: str) -> str | None:
    """The file of timm's weights if it is on this machine; None if it can be had. timm alone retries for most of a
    minute."""
    import huggingface_hub

    if not release.hf_hub_id:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(release.url).name
        if not place.exists():
            _require(release.url, title, f", or put it at {place}")
        return None
    names = [release.hf_hub_filename] if release.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        if isinstance(found := huggingface_hub.try_to_load_from_cache(release.hf_hub_id, name), str):
            return found
    _require(huggingface_hub.hf_hub_url(release.hf_hub_id, names[0]), title)
    return None


def _require(url: str, title: str, place: str = "") -> None:
    """Raise ArchitectureError if there is no way to `url`; one question, five seconds at most."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        pass  # somebody answers; the library says the rest
    except OSError as error:
        raise ArchitectureError(
            f"The weights of {title} are not on this machine, and there is no network. Download\n"
            f"{url}\nelsewhere and name the file, pretrained=FILE{place}."
        ) from error
