"""Fill our networks with released weights: `pretrained=timm`, `pretrained=torchvision` or a file.

lineage/weights/counterparts.py says which of their tensors is which of ours. Every tensor is accounted for: one that
does not fit is an error, and one that is left out or replaced is reported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineage.archs.arguments import ArchitectureError
from lineage.text import as_yaml
from lineage.weights.checkpoint import Weights
from lineage.weights.fetching import from_timm, from_torchvision
from lineage.weights.preprocessing import LIBRARIES, Preprocessing
from lineage.weights.provenance import (
    UNKNOWN,
    Releases,
    available_releases,
    file_weights,
    library_names,
    library_preprocessing,
)

# Arguments in which a network may differ from the one that was trained: they change nothing that is computed from
# given weights, or the classifier or the first convolution is adapted to them.
FREE_ARGUMENTS = (
    "num_classes in_channels drop_path dropout zero_init_last norm_momentum aux_heads aux_size memory_efficient"
).split()


def load(
    network: nn.Module, pretrained: str, arch: Mapping[str, Any], published: Mapping[str, Any],
    preprocessing: Preprocessing | None, *, new_head: bool = True,
) -> list[str]:  # fmt: skip
    """Fill the network with weights.

    Args:
        pretrained: "torchvision", "timm" or a file: a run's checkpoint, or weights with our names, torchvision's or
            timm's.
        arch: the network's arguments.
        published: by library the `name` of its weights, such as resnet50.a1_in1k, and the arguments that they need.
        preprocessing: how the images of this run are preprocessed; None: as those of the weights.
        new_head: whether a classifier that the weights lack may stay as it was initialised.

    Returns:
        Sentences for the run's first screen: where the weights come from, and what was replaced or left out.

    Raises:
        ArchitectureError: there are no such weights, they cannot be reached, or they are of another network, which is
            then left as it was.
    """
    releases = available_releases(published)
    weights = _find(network, pretrained, releases)
    title = f"The weights of {weights.title} are"
    for key, value in releases.get(weights.library or "", {}).items():
        if key != "name" and as_yaml(arch.get(key)) != as_yaml(value):
            raise ArchitectureError(f"{title} {weights.library}'s and need arch.{key}={as_yaml(value)}.")
    for key, value in weights.arch.items():
        if key in arch and key not in FREE_ARGUMENTS and as_yaml(arch[key]) != as_yaml(value):
            here, there = (f"arch.{key}={as_yaml(values[key])}" for values in (arch, weights.arch))
            raise ArchitectureError(f"{title} of another network: of {there}, and this one has {here}.")
    origin = f"starts from the weights of {weights.title}{_preprocessing_clause(weights, preprocessing)}"
    return [origin, *fill(network, weights, new_head)]


def _find(network: nn.Module, pretrained: str, releases: Releases) -> Weights:
    name = str(releases.get(pretrained if pretrained in LIBRARIES else "timm", {}).get("name", ""))
    if pretrained in LIBRARIES:
        if not name:
            raise ArchitectureError(f"pretrained={pretrained}: it has no released weights of this network.")
        weights = from_timm(name) if pretrained == "timm" else from_torchvision(name)
        return weights._replace(preprocessing=library_preprocessing(pretrained, name))
    weights = file_weights(network, Path(pretrained), releases)
    if weights.library != UNKNOWN:
        return weights
    if name:  # perhaps an older release, whose names timm brings up to date
        return from_timm(name, pretrained)._replace(title=pretrained, preprocessing=weights.preprocessing)
    found = next(iter(weights.tensors), "nothing")
    raise ArchitectureError(f"pretrained={pretrained}: these weights are of another network ({found}, ...).")


def _preprocessing_clause(weights: Weights, here: Preprocessing | None) -> str:
    """The end of a sentence: the preprocessing that the weights expect, and in what that of this run differs."""
    expected = weights.preprocessing
    if expected is None:
        return "; the preprocessing that they expect is unknown"
    source = f"the preprocessing of {expected.source}: " if expected.source not in ("", weights.title) else ""
    differences = expected.differences(here) if here else ""
    return f", which expect {source}{expected}" + (f"; here {differences}" if differences else "")


# ---- copying


def fill(network: nn.Module, weights: Weights, new_head: bool = True) -> list[str]:
    """Copy tensors into the network, all or none; returns sentences about what was replaced or left out.

    A classifier of another number of classes stays as it was initialised. For another number of input channels the
    first convolution's filters are summed over the channels (for one) or repeated, as timm does.
    """
    names = library_names(network, weights.library)
    if names is None:
        raise ArchitectureError(f"The weights of {weights.title} are of another network.")
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    classifiers, unused = _classifiers(network), dict(weights.tensors)
    copies: list[tuple[Tensor, Tensor]] = []  # to, from
    notes: list[str] = []
    for name, tensor in network.state_dict().items():
        their_name, _, kernel = names[name].partition(" ")
        module = name.rpartition(".")[0]
        value = unused.pop(their_name, None)
        if value is None and name.endswith("num_batches_tracked"):
            continue  # files of before 2018 have none
        if value is not None and kernel:  # (O, I, k, k) of a convolution -> (O, I k k) of our linear layer
            value = value.flatten(1)
        if value is not None and value.shape == tensor.shape:
            copies.append((tensor, value))
        elif module in classifiers and (value is None or value.shape[1:] == tensor.shape[1:]):
            if name.endswith("weight"):
                notes.append(_head_note(module, tensor, value, weights.title, new_head))
        elif value is not None and module == first and _only_channels_differ(value, tensor):
            channels = tensor.shape[1]
            copies.append((tensor, _repeat_channels(value, channels)))
            how = "summed" if channels == 1 else "repeated"
            notes.append(f"{module}: filters for {value.shape[1]} channels are {how}, to {channels}")
        else:
            reason = f"they have no {their_name} for {name}."
            if value is not None:
                hint = " Try arch.stem=imagenet." if name.startswith("stem") and hasattr(network, "stem") else ""
                reason = f"{name} is {tuple(tensor.shape)}, and {tuple(value.shape)} there.{hint}"
            raise ArchitectureError(f"The weights of {weights.title} are of another network: {reason}")
    notes += _unused_notes(network, unused, classifiers, weights.title)
    with torch.no_grad():
        for tensor, value in copies:
            tensor.copy_(value)
    return notes


def _unused_notes(network: nn.Module, unused: Mapping[str, Tensor], classifiers: set[str], title: str) -> list[str]:
    """Sentences about tensors without a place. Raises ArchitectureError unless they are a classifier or auxiliary."""
    others = [name for name in unused if not name.lower().startswith("aux")]
    notes = ["the weights' auxiliary head is left out"] if len(others) < len(unused) else []
    if others:
        layer = others[0].rpartition(".")[0]
        weight = unused.get(f"{layer}.weight", torch.empty(0))
        from_features = weight.ndim >= 2 and weight.shape[1] == getattr(network, "num_features", None)
        if classifiers or not from_features or any(name.rpartition(".")[0] != layer for name in others):
            raise ArchitectureError(f"The weights of {title} are of another network: nothing here takes {others[0]}.")
        notes.append(f"the weights' classifier of {len(weight):,} classes is left out: this network has none")
    return notes


def _head_note(module: str, tensor: Tensor, value: Tensor | None, title: str, new_head: bool) -> str:
    """A sentence about a classifier that the weights lack. Raises ArchitectureError if it may not stay as it is."""
    here, there = f"{len(tensor):,}", "no classifier" if value is None else f"a classifier of {len(value):,} classes"
    if new_head:
        return f"{module} is new: {here} classes, and {there} in the weights"
    raise ArchitectureError(
        f"The weights of {title} have {there}, and the data have {here}: evaluation needs weights with a classifier "
        "for these data."
    )


def _classifiers(network: nn.Module) -> set[str]:
    """Names of the layers whose outputs are classes, also of auxiliary heads; none if there are no classes."""
    stated = getattr(network, "pretrained_cfg", {}).get("classifier") or getattr(network, "classifiers", ())
    names = (stated,) if isinstance(stated, str) else tuple(stated or ())  # timm's models state one or several
    return {name for name in names if not isinstance(network.get_submodule(name), nn.Identity)}


def _only_channels_differ(value: Tensor, tensor: Tensor) -> bool:
    return value.ndim == tensor.ndim == 4 and (value.shape[0], value.shape[2:]) == (tensor.shape[0], tensor.shape[2:])


def _repeat_channels(weight: Tensor, channels: int) -> Tensor:
    """(O, C, k, k) -> (O, channels, k, k), with the same response to an image whose channels are equal."""
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    given = weight.shape[1]
    return weight.repeat(1, -(-channels // given), 1, 1)[:, :channels] * (given / channels)
