"""Released weights into our networks: `pretrained=timm`, `pretrained=torchvision` or a file.

Weights come through the loading code of the library that released them, and go by the names of
lineage/weights/counterparts.py.
Nothing is left over or missing in silence: what does not fit is an error, what is replaced is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineage.archs.arguments import ArchitectureError
from lineage.text import as_yaml
from lineage.weights.checkpoint import read_weights
from lineage.weights.fetching import Weights, from_timm, from_torchvision
from lineage.weights.preprocessing import LIBRARIES, Preprocessing
from lineage.weights.provenance import (
    Entries,
    library_names,
    library_preprocessing,
    matching_libraries,
    preprocessing_by_names,
    released_entries,
)

# Arguments that do not change what a network computes from its weights, or that a new classifier or stem makes good.
ANY_VALUE = (
    "num_classes in_channels drop_path dropout zero_init_last norm_momentum aux_heads aux_size memory_efficient"
).split()


# ---- loading


def load(
    network: nn.Module,
    pretrained: str,
    arch: Mapping[str, Any],
    published: Mapping[str, Any],
    preprocessing: Preprocessing,
    *,
    new_head: bool = True,
) -> list[str]:
    """Fill the network; returns what the user should know, in sentences.

    Args:
        pretrained: "torchvision", "timm" or a file: a checkpoint of a run, or weights named as ours, torchvision's or
            timm's are.
        arch: the network's arguments.
        published: by library the `name` of its weights, such as resnet50.a1_in1k, and the arguments that they need.
        preprocessing: how images are preprocessing here.
        new_head: whether a classifier that the weights do not have may stay as it was initialised.

    Raises:
        ArchitectureError: there are no such weights, they cannot be reached, or they are of another network, which is
            then left as it was.
    """
    entries = released_entries(published)
    weights = _find(network, pretrained, entries)
    for key, value in entries.get(weights.library or "", {}).items():
        if key != "name" and _plain(arch.get(key)) != _plain(value):
            raise ArchitectureError(
                f"The weights of {weights.title} are {weights.library}'s and need arch.{key}={as_yaml(value)}."
            )
    for key, value in weights.arch.items():
        if key in arch and key not in ANY_VALUE and _plain(arch[key]) != _plain(value):
            raise ArchitectureError(
                f"The weights of {weights.title} are of another network: of arch.{key}={as_yaml(value)}, "
                f"and this one has arch.{key}={as_yaml(arch[key])}."
            )
    return [
        f"starts from the weights of {weights.title}{_about_images(weights, preprocessing)}",
        *fill(network, weights, new_head),
    ]


def _find(network: nn.Module, pretrained: str, entries: Entries) -> Weights:
    if pretrained not in LIBRARIES:
        return from_file(network, Path(pretrained), entries)
    if pretrained not in entries:
        raise ArchitectureError(f"pretrained={pretrained}: it has no released weights of this network.")
    name = str(entries[pretrained]["name"])
    weights = from_timm(name) if pretrained == "timm" else from_torchvision(name)
    return weights._replace(preprocessing=library_preprocessing(pretrained, name))


def _about_images(weights: Weights, preprocessing: Preprocessing) -> str:
    """The end of a sentence: what images the weights saw, and what they are preprocessing here instead."""
    if weights.preprocessing is None:
        return "; what images they saw is recorded nowhere"
    source = f" as {weights.preprocessing.source}" if weights.preprocessing.source not in ("", weights.title) else ""
    other = weights.preprocessing.differences(preprocessing)
    return f", seen{source} at {weights.preprocessing}" + (f"; here {other}" if other else "")


def _plain(value: Any) -> Any:
    """A list for any sequence, since arguments may come from a config or from Python."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def from_file(network: nn.Module, path: Path, entries: Entries) -> Weights:
    """The weights of a file, by whose names most of them go: ours, torchvision's, timm's."""
    saved = read_weights(path)
    libraries = matching_libraries(network, saved.tensors, entries)
    record = saved.preprocessing or preprocessing_by_names(path, entries, libraries)
    if libraries:
        return Weights(str(path), saved.tensors, libraries[0], saved.arch, record)
    if "timm" in entries:  # an older release, whose names timm brings up to date
        return from_timm(str(entries["timm"]["name"]), str(path))._replace(title=str(path), preprocessing=record)
    found = next(iter(saved.tensors), "nothing")
    raise ArchitectureError(f"pretrained={path}: these weights are of another network ({found}, ...).")


def fill(network: nn.Module, weights: Weights, new_head: bool = True) -> list[str]:
    """Copy tensors into the network by our names, all or none; returns what was replaced or left out.

    A classifier of another number of classes stays as it was initialised. For another number of input channels the
    first convolution's filters are summed over colours (one channel) or repeated, as timm does.
    """
    names = library_names(network, weights.library)
    if names is None:
        raise ArchitectureError(f"The weights of {weights.title} are of another network.")
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    classifiers, given = _classifiers(network), dict(weights.tensors)
    fitting: list[tuple[Tensor, Tensor]] = []  # ours, theirs
    notes: list[str] = []
    for name, tensor in network.state_dict().items():
        theirs, module = names[name].split()[0], name.rpartition(".")[0]
        value = given.pop(theirs, None)
        if value is None and name.endswith("num_batches_tracked"):
            continue  # files of before 2018 have none
        if value is not None and " " in names[name]:  # a convolution there
            value = value.flatten(1)
        if value is not None and value.shape == tensor.shape:
            fitting.append((tensor, value))
        elif module in classifiers and (value is None or value.shape[1:] == tensor.shape[1:]):
            if name.endswith("weight"):
                notes.append(_about_head(module, tensor, value, weights.title, new_head))
        elif value is not None and module == first and _only_channels_differ(value, tensor):
            channels = tensor.shape[1]
            fitting.append((tensor, _repeat_channels(value, channels)))
            how = "summed" if channels == 1 else "repeated"
            notes.append(f"{module}: filters for {value.shape[1]} channels are {how}, to {channels}")
        else:
            reason = _misfit(network, name, tensor, theirs, value)
            raise ArchitectureError(f"The weights of {weights.title} are of another network: {reason}")
    left = [name for name in given if not name.lower().startswith("aux")]
    if not classifiers and _is_classifier({name: given[name] for name in left}, getattr(network, "num_features", None)):
        notes.append(f"the weights' classifier of {len(given[left[0]]):,} classes is left out: there are none here")
        given = {name: tensor for name, tensor in given.items() if name not in left}
        left = []
    if left:
        raise ArchitectureError(f"The weights of {weights.title} are of another network: nothing here takes {left[0]}.")
    if given:
        notes.append("the weights' auxiliary head is left out")
    with torch.no_grad():
        for tensor, value in fitting:
            tensor.copy_(value)
    return notes


def _is_classifier(tensors: Mapping[str, Tensor], features: int | None) -> bool:
    """Whether these are all of one layer, from a network's features to its classes."""
    layers = {name.rpartition(".")[0] for name in tensors}
    weight = tensors.get(f"{layers.pop()}.weight") if len(layers) == 1 else None
    return weight is not None and weight.ndim >= 2 and weight.shape[1] == features


def _about_head(module: str, tensor: Tensor, value: Tensor | None, title: str, new_head: bool) -> str:
    """A sentence about a classifier that the weights do not have. Raises ArchitectureError where it needs one."""
    here = f"{tensor.shape[0]:,}"
    if not new_head:
        there = "no classifier" if value is None else f"a classifier of {value.shape[0]:,} classes"
        raise ArchitectureError(
            f"The weights of {title} have {there}, and the data have {here}: "
            "evaluation needs weights with a classifier for these data."
        )
    there = "no classifier" if value is None else f"{value.shape[0]:,}"
    return f"{module} is new: {here} classes, and {there} in the weights"


def _misfit(network: nn.Module, name: str, tensor: Tensor, theirs: str, value: Tensor | None) -> str:
    if value is None:
        return f"they have no {theirs} for {name}."
    hint = " Try arch.stem=imagenet." if name.startswith("stem") and hasattr(network, "stem") else ""
    return f"{name} is {tuple(tensor.shape)}, and {tuple(value.shape)} there.{hint}"


def _classifiers(network: nn.Module) -> set[str]:
    """Names of the modules that answer with classes, auxiliary ones too; of timm's models as they say."""
    told = getattr(network, "pretrained_cfg", {}).get("classifier")
    if told:
        return {told} if isinstance(told, str) else set(told)
    names = getattr(network, "classifiers", None)
    if names and not isinstance(network.get_submodule(names[0]), nn.Linear):
        return set()  # a network of features, whose head may have hidden layers
    linear = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    classes = [module.out_features for module in linear.values()][-1:]  # all have as many outputs as the last one
    return {name for name, module in linear.items() if module.out_features in classes}


def _only_channels_differ(value: Tensor, tensor: Tensor) -> bool:
    return value.ndim == tensor.ndim == 4 and (value.shape[0], value.shape[2:]) == (tensor.shape[0], tensor.shape[2:])


def _repeat_channels(weight: Tensor, channels: int) -> Tensor:
    """(out, C, k, k) -> (out, channels, k, k), of the same response to an image whose channels are all alike."""
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    given = weight.shape[1]
    repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels]
    return repeated * (given / channels)
