"""Released weights into our networks, and ours back: `arch.pretrained=timm`, `torchvision` or a file.

Weights come through the loading code of the library that released them, and go by the names of archs/counterparts.py.
Nothing is left over or missing in silence: what does not fit is an error, what is replaced is said.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from archs.blocks import ArchitectureError
from archs.counterparts import their_names

LIBRARIES = ("torchvision", "timm")
Tensors = dict[str, Tensor]


class Weights(NamedTuple):
    """Tensors by the names of their library; None: by ours."""

    title: str
    tensors: Tensors
    library: str | None = None


# ---- loading


def load(
    network: nn.Module, pretrained: str, arch: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
) -> list[str]:
    """Fill the network; returns what the user should know, in sentences.

    Args:
        pretrained: "torchvision", "timm" or a file: a checkpoint of a run, or weights named as ours, torchvision's or
            timm's are.
        arch: the network's arguments, and `released`: by library the `name` of its weights, such as resnet50.a1_in1k,
            and the arguments that these weights need.
        mean, std: how the data's images are normalised.

    Raises:
        ArchitectureError: there are no such weights, they cannot be reached, or they are of another network.
    """
    released = {library: dict(entry) for library, entry in arch["released"].items() if entry}
    if pretrained in LIBRARIES:
        name = str(released[pretrained]["name"])
        weights = from_torchvision(name) if pretrained == "torchvision" else from_timm(name)
    else:
        weights = from_file(network, Path(pretrained), released.get("timm", {}).get("name"))
    remarks = [f"starts from the weights of {weights.title}"]
    needed = released.get(weights.library or "", {})
    for key, value in needed.items():
        if key != "name" and arch[key] != value:
            raise ArchitectureError(
                f"The weights of {weights.title} are {weights.library}'s and need arch.{key}={value}."
            )
    remarks += fill(network, weights)
    if needed:
        remarks += _about_normalisation(weights.library == "timm", str(needed["name"]), mean, std)
    return remarks


def _about_normalisation(timm: bool, name: str, mean: Sequence[float], std: Sequence[float]) -> list[str]:
    """A sentence, if the weights saw images of another mean or deviation than the data's are given."""
    theirs = _timm_release(name) if timm else _torchvision_weights(name).transforms()
    if theirs is None:
        return []
    facts = {"mean": theirs.mean, "std": theirs.std}
    if not timm and name.startswith("inception_v3"):  # it turns its images into Google's, in [-1, 1]: transform_input
        facts = {"mean": [0.5] * 3, "std": [0.5] * 3}
    data = [*mean, *std]
    given = [*facts["mean"], *facts["std"]]
    if len(given) != len(data) or all(abs(a - b) < 5e-3 for a, b in zip(given, data, strict=True)):
        return []
    words = " ".join(f"datamodule.{key}=[{','.join(f'{v:g}' for v in values)}]" for key, values in facts.items())
    return [f"these weights saw images of another normalisation than the data's; theirs is {words}"]


def _torchvision_weights(name: str) -> Any:
    import torchvision

    model, _, version = name.partition(".")
    try:
        return getattr(torchvision.models.get_model_weights(model), version or "DEFAULT")
    except (ValueError, AttributeError) as error:
        raise ArchitectureError(f"torchvision has no weights {name}: {error}.") from error


def from_torchvision(name: str) -> Weights:
    """torchvision's weights: "resnet50" is its default ones, "resnet50.IMAGENET1K_V1" others."""
    import torchvision

    weights, model = _torchvision_weights(name), name.partition(".")[0]
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not place.exists():
        _require(weights.url, f"torchvision's {name}", f", or put it at {place}")
    network = torchvision.models.get_model(model, weights=weights)
    return Weights(f"torchvision's {model} {weights.name}", network.state_dict(), "torchvision")


def _timm_release(name: str) -> Any:
    import timm

    return timm.get_pretrained_cfg(name)


def from_timm(name: str, file: str | None = None) -> Weights:
    """timm's weights: "resnet50" is its default ones, "resnet50.a1_in1k" those of a tag; or a file of them."""
    import timm

    release = _timm_release(name)
    if file is None:
        if release is None or not (release.hf_hub_id or release.url):
            tags = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}.*")) or "none"
            raise ArchitectureError(f"timm has no weights {name}. Of this model it has: {tags}.")
        file = _local_or_reachable(release, f"timm's {release.architecture}.{release.tag}")
    overlay = {"file": file} if file else None
    try:
        network: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, OSError) as error:
        raise ArchitectureError(f"timm could not load the weights of {name}: {error}") from error
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
            f"{url}\nelsewhere and name the file, arch.pretrained=FILE{place}."
        ) from error


def from_file(network: nn.Module, path: Path, timm_name: str | None) -> Weights:
    """The weights of a file, by whose names most of them go: ours, torchvision's, timm's."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file may hold
        raise ArchitectureError(f"arch.pretrained={path}: cannot be read as weights ({error}).") from error
    tensors = network_weights(content) if isinstance(content, Mapping) else {}
    known = {library: _names(network, library) or {} for library in (None, *LIBRARIES)}
    shared = {library: len(tensors.keys() & {n.split()[0] for n in names.values()}) for library, names in known.items()}
    library = max(shared, key=shared.__getitem__)
    if shared[library] > len(network.state_dict()) / 2:
        return Weights(str(path), tensors, library)
    if timm_name:  # an older release, whose names timm brings up to date
        return from_timm(timm_name, str(path))._replace(title=str(path))
    found = next(iter(tensors), "nothing")
    raise ArchitectureError(f"arch.pretrained={path}: these weights are of another network ({found}, ...).")


def network_weights(content: Mapping[str, Any]) -> Tensors:
    """The network's tensors of a checkpoint of a run, averaged ones if it has them; or of a file of weights."""
    if content.get("averages"):
        content = content["averages"][0]["network"]
    content = content.get("state_dict", content)
    inside = {name.removeprefix("network."): value for name, value in content.items() if name.startswith("network.")}
    found = {name: value for name, value in (inside or content).items() if isinstance(value, Tensor)}
    # torchvision's files of DenseNets have names of before 2019: denselayer1.norm.1
    return {re.sub(r"(denselayer\d+\.\w+)\.([12])\.", r"\1\2.", name): value for name, value in found.items()}


def fill(network: nn.Module, weights: Weights) -> list[str]:
    """Copy tensors into the network by our names; returns what was replaced or left out.

    A classifier of another number of classes stays as it was initialised. For another number of input channels the
    first convolution's filters are summed over colours (one channel) or repeated, as timm does.
    """
    names = _names(network, weights.library)
    if names is None:
        raise ArchitectureError(f"The weights of {weights.title} are of another network.")
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    classifiers, given = _classifiers(network), dict(weights.tensors)
    remarks: list[str] = []
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            theirs, module = names[name].split()[0], name.rpartition(".")[0]
            if theirs not in given:
                if name.endswith("num_batches_tracked"):
                    continue  # files of before 2018 have none
                raise ArchitectureError(
                    f"The weights of {weights.title} are of another network: they have no {theirs} for {name}."
                )
            value = given.pop(theirs)
            if " " in names[name]:  # a convolution there
                value = value.flatten(1)
            if value.shape == tensor.shape:
                tensor.copy_(value)
            elif module in classifiers and value.shape[1:] == tensor.shape[1:]:
                if name.endswith("weight"):
                    remarks.append(
                        f"{module} is new: {tensor.shape[0]:,} classes, and {value.shape[0]:,} in the weights"
                    )
            elif module == first and _only_channels_differ(value, tensor):
                channels = tensor.shape[1]
                tensor.copy_(_repeat_channels(value, channels))
                how = "summed" if channels == 1 else "repeated"
                remarks.append(f"{module}: filters for {value.shape[1]} channels are {how}, to {channels}")
            else:
                shapes = f"{name} is {tuple(tensor.shape)}, and {tuple(value.shape)} there"
                hint = " Try arch.stem=imagenet." if name.startswith("stem") and hasattr(network, "stem") else ""
                raise ArchitectureError(f"The weights of {weights.title} are of another network: {shapes}.{hint}")
    left = [name for name in given if not name.lower().startswith("aux")]
    if left:
        raise ArchitectureError(f"The weights of {weights.title} are of another network: nothing here takes {left[0]}.")
    if given:
        remarks.append("the weights' auxiliary head is left out")
    return remarks


def _names(network: nn.Module, library: str | None) -> dict[str, str] | None:
    own = network.state_dict()
    if library is None or (library == "timm" and type(network).__module__.startswith("timm.")):
        return {name: name for name in own}
    return their_names(own, library)


def _classifiers(network: nn.Module) -> set[str]:
    """Names of the modules that may have another number of classes: linear layers; in timm's models what they say."""
    told = getattr(network, "pretrained_cfg", {}).get("classifier")
    if told:
        return {told} if isinstance(told, str) else set(told)
    return {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def _only_channels_differ(value: Tensor, tensor: Tensor) -> bool:
    return value.ndim == tensor.ndim == 4 and (value.shape[0], value.shape[2:]) == (tensor.shape[0], tensor.shape[2:])


def _repeat_channels(weight: Tensor, channels: int) -> Tensor:
    """(out, C, k, k) -> (out, channels, k, k), of the same response to an image whose channels are all alike."""
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    given = weight.shape[1]
    repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels]
    return repeated * (given / channels)


# ---- back


def to_timm(state_dict: Mapping[str, Tensor]) -> Tensors:
    """Our weights by timm's names and shapes: `timm_model.load_state_dict(to_timm(network.state_dict()))`.

    Raises:
        ArchitectureError: timm has no such network.
    """
    return _to(state_dict, "timm")


def to_torchvision(state_dict: Mapping[str, Tensor]) -> Tensors:
    """As `to_timm`, by torchvision's names."""
    return _to(state_dict, "torchvision")


def _to(state_dict: Mapping[str, Tensor], library: str) -> Tensors:
    names = their_names(state_dict, library)
    if names is None:
        raise ArchitectureError(f"{library} has no network with a place for {next(iter(state_dict))}, ...")
    renamed: Tensors = {}
    for name, tensor in state_dict.items():
        theirs, _, kernel = names[name].partition(" ")
        side = [int(length) for length in kernel.split("x")] if kernel else []
        renamed[theirs] = tensor.reshape(tensor.shape[0], -1, *side) if side else tensor
    return renamed
