"""Weights that torchvision and timm released, through their own loading code."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch

from lineage.archs.arguments import ArchitectureError
from lineage.weights.checkpoint import Weights


def torchvision_weights(name: str) -> Any:
    """A member of torchvision's enumeration: "resnet50" is the model's default, "resnet50.IMAGENET1K_V1" another."""
    import torchvision

    model, _, version = name.partition(".")
    every: Any = torchvision.models.get_model_weights(model) if model in torchvision.models.list_models() else []
    if weights := getattr(every, version or "DEFAULT", None):
        return weights
    known = ", ".join(weights.name for weights in every) or "none"
    raise ArchitectureError(f"torchvision has no weights {name}. Of this model it has: {known}.")


def torchvision_accuracy(name: str) -> dict[str, Any]:
    """On ImageNet, as torchvision states it: fractions top1 and top5, and accuracy_of, which weights."""
    weights = torchvision_weights(name)
    found = weights.meta["_metrics"]["ImageNet-1K"]
    top1, top5 = (round(found[key] / 100, 6) for key in ("acc@1", "acc@5"))
    return {"top1": top1, "top5": top5, "accuracy_of": f"{weights.name} (torchvision's {name.partition('.')[0]})"}


def from_torchvision(name: str) -> Weights:
    """torchvision's weights, by the name that `torchvision_weights` takes."""
    import torchvision

    weights, model = torchvision_weights(name), name.partition(".")[0]
    _require(weights.url, f"torchvision's {name}", in_torch_cache=True)
    network = torchvision.models.get_model(model, weights=weights)
    return Weights(f"torchvision's {model} {weights.name}", network.state_dict(), "torchvision")


def from_timm(name: str, file: str | None = None) -> Weights:
    """timm's weights, through its loader.

    Args:
        name: "resnet50" for the model's default weights, "resnet50.a1_in1k" for those of a tag.
        file: read these weights of the model instead, whose names timm brings up to date.
    """
    import timm

    if file is None:
        release: Any = timm.get_pretrained_cfg(name)
        if release is None or not (release.hf_hub_id or release.url):
            tags = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}.*")) or "none"
            raise ArchitectureError(f"timm has no weights {name}. Of this model it has: {tags}.")
        file = _cached_or_reachable(release)
    try:
        overlay = {"file": file} if file else None
        network: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, OSError) as error:
        reason = "they are of another network" if "state_dict" in str(error) else str(error).split("\n")[0]
        title = f"the weights of {name}" if file is None else f"{file} as weights of {name}"
        raise ArchitectureError(f"timm could not load {title}: {reason}.") from error
    config = network.pretrained_cfg
    return Weights(f"timm's {config['architecture']}.{config['tag']}", network.state_dict(), "timm")


def _cached_or_reachable(release: Any) -> str | None:
    """The file of timm's weights in the hub's cache; None if timm can download it or finds it in torch's cache.

    Raises ArchitectureError at once if neither is so, where timm alone retries for most of a minute.
    """
    import huggingface_hub

    title, name = f"timm's {release.architecture}.{release.tag}", release.hf_hub_filename or "model.safetensors"
    if not release.hf_hub_id:
        _require(release.url, title, in_torch_cache=True)
    elif isinstance(found := huggingface_hub.try_to_load_from_cache(release.hf_hub_id, name), str):
        return found
    else:
        _require(huggingface_hub.hf_hub_url(release.hf_hub_id, name), title)
    return None


def _require(url: str, title: str, in_torch_cache: bool = False) -> None:
    """Raise ArchitectureError unless torch's cache has the file, or its server answers within five seconds."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    try:
        if not (in_torch_cache and place.exists()):
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        pass  # the server answers; the library reports what is wrong
    except OSError as error:
        raise ArchitectureError(
            f"The weights of {title} are not on this machine, and there is no network. Download\n{url}\nelsewhere and "
            f"name the file, pretrained=FILE{f', or put it at {place}' if in_torch_cache else ''}."
        ) from error
