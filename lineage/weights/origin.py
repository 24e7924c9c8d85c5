"""Of what library weights are, by their names, and what images they saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lineage.weights.checkpoint import Tensors, read_weights
from lineage.weights.counterparts import their_names
from lineage.weights.fetching import torchvision_models, torchvision_weights
from lineage.weights.preprocessing import LIBRARIES, Preprocessing, of_timm_record

Entries = dict[str, Mapping[str, Any]]  # by library: the name of its weights, and the arguments that these need


def recorded_preprocessing(
    pretrained: str, published: Mapping[str, Any], build: Callable[[], nn.Module]
) -> Preprocessing | None:
    """How the images were preprocessed that the weights were trained on; None: no record says.

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


# ---- what the libraries record


def of_timm(name: str) -> Preprocessing | None:
    """Of timm's weights by name ("resnet50": the default ones), as they are tested; None: timm has no such weights."""
    import timm

    release = timm.get_pretrained_cfg(name)
    if release is None:
        return None
    return of_timm_record(release.to_dict(), f"timm's {release.architecture}.{release.tag}")


def of_torchvision(name: str) -> Preprocessing:
    """Of torchvision's weights by name ("resnet50" or "resnet50.IMAGENET1K_V1").

    Its Inception v3 turns ImageNet's normalisation into Google's, images in [-1, 1], inside the network
    (`transform_input`), and ours does not.
    """
    weights, model = torchvision_weights(name), name.partition(".")[0]
    transform = weights.transforms()
    google = model == "inception_v3"
    return Preprocessing(
        mean=(0.5,) * 3 if google else tuple(transform.mean),
        std=(0.5,) * 3 if google else tuple(transform.std),
        resolution=transform.crop_size[0],
        crop=transform.crop_size[0] / transform.resize_size[0],
        interpolation=transform.interpolation.value,
        source=f"torchvision's {model}.{weights.name}",
    )


def named_like(path: Path, library: str, name: str) -> str | None:
    """The name of the library's weights whose file is called as this one: resnet50-0676ba61.pth is IMAGENET1K_V1."""
    model = name.partition(".")[0]
    if library == "timm":
        import timm

        tags = timm.list_pretrained(f"{model}.*")
        urls: dict[str, Any] = {tag: getattr(timm.get_pretrained_cfg(tag), "url", None) for tag in tags}
    else:
        urls = {f"{model}.{weights.name}": weights.url for weights in torchvision_models(model)}
    return next((tag for tag, url in urls.items() if url and Path(url).name == path.name), None)
