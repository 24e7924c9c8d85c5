"""Of what library weights are, by their names, and what images they saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from weights.checkpoint import Tensors, read_weights
from weights.counterparts import their_names
from weights.preprocessing import Preprocessing, named_like, of_timm, of_torchvision

LIBRARIES = ("torchvision", "timm")
Entries = dict[str, Mapping[str, Any]]  # by library: the name of its weights, and the arguments that these need


def seen(pretrained: str, published: Mapping[str, Any], build: Callable[[], nn.Module]) -> Preprocessing | None:
    """How the images were shown that the weights saw; None: nobody recorded it.

    Args:
        pretrained, published: as `load` takes them.
        build: makes the network, of any values or none (device "meta"), where a file is known by its names.
    """
    entries = entries_of(published)
    if pretrained in entries:
        return record_of(pretrained, str(entries[pretrained]["name"]))
    if pretrained in LIBRARIES:
        return None
    path = Path(pretrained)
    saved = read_weights(path)
    return saved.seen or seen_of_names(path, entries, named_as(build(), saved.tensors, entries))


def entries_of(published: Mapping[str, Any]) -> Entries:
    return {library: published[library] for library in LIBRARIES if published.get(library)}


def named_as(network: nn.Module, tensors: Tensors, entries: Entries) -> list[str | None]:
    """The libraries (None: ours) whose names most of the tensors have, best first; none of them if it is none's.

    Where torchvision and timm share their names, as of ResNets, the first is that which has released weights of these.
    """
    candidates: list[str | None] = ["timm"] if is_timms(network) else [None, *LIBRARIES]
    known = {library: names_of(network, library) or {} for library in candidates}
    shared = {library: len(tensors.keys() & {n.split()[0] for n in names.values()}) for library, names in known.items()}
    most = max(shared.values())
    best = [library for library in shared if shared[library] == most > len(network.state_dict()) / 2]
    return sorted(best, key=lambda library: (library is not None, library not in entries))


def names_of(network: nn.Module, library: str | None) -> dict[str, str] | None:
    own = network.state_dict()
    if library is None or (library == "timm" and is_timms(network)):
        return {name: name for name in own}
    return their_names(own, library)


def is_timms(network: nn.Module) -> bool:
    """Whether it is one of timm's own, of arch=timm."""
    return type(network).__module__.startswith("timm.")


def seen_of_names(path: Path, entries: Entries, libraries: Sequence[str | None]) -> Preprocessing | None:
    """The record of the library whose names a file has: of the weights whose file is called so, else of the default."""
    if libraries[:1] == [None]:
        return None
    names = {str(library): str(entries[library]["name"]) for library in libraries or ["timm"] if library in entries}
    for library, name in names.items():
        if exact := named_like(path, library, name):
            return record_of(library, exact)
    records = [record for library, name in names.items() if (record := record_of(library, name))]
    others = [f"or {other.source}, {said}" for other in records[1:] if (said := records[0].differences(other))]
    return replace(records[0], source=", ".join([records[0].source, *others])) if records else None


def record_of(library: str, name: str) -> Preprocessing | None:
    return of_timm(name) if library == "timm" else of_torchvision(name)
