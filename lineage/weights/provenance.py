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
from lineage.weights.preprocessing import LIBRARIES, Preprocessing, from_timm_config

Entries = dict[str, Mapping[str, Any]]  # by library: the name of its weights, and the arguments that these need


def recorded_preprocessing(
    pretrained: str, published: Mapping[str, Any], build: Callable[[], nn.Module]
) -> Preprocessing | None:
    """How the images were preprocessed that the weights were trained on; None: no record says.

    Args:
        pretrained, published: as `load` takes them.
        build: makes the network, of any values or none (device "meta"), where a file is known by its names.
    """
    entries = released_entries(published)
    if pretrained in entries:
        return library_preprocessing(pretrained, str(entries[pretrained]["name"]))
    if pretrained in LIBRARIES:
        return None
    path = Path(pretrained)
    saved = read_weights(path)
    return saved.preprocessing or preprocessing_by_names(
        path, entries, matching_libraries(build(), saved.tensors, entries)
    )


def released_entries(published: Mapping[str, Any]) -> Entries:
    return {library: published[library] for library in LIBRARIES if published.get(library)}


def matching_libraries(network: nn.Module, tensors: Tensors, entries: Entries) -> list[str | None]:
    """The libraries (None: ours) whose names most of the tensors have, best first; none of them if it is none's.

    Where torchvision and timm share their names, as of ResNets, the first is that which has released weights of these.
    """
    candidates: list[str | None] = ["timm"] if is_timm_model(network) else [None, *LIBRARIES]
    known = {library: library_names(network, library) or {} for library in candidates}
    shared = {library: len(tensors.keys() & {n.split()[0] for n in names.values()}) for library, names in known.items()}
    most = max(shared.values())
    best = [library for library in shared if shared[library] == most > len(network.state_dict()) / 2]
    return sorted(best, key=lambda library: (library is not None, library not in entries))


def library_names(network: nn.Module, library: str | None) -> dict[str, str] | None:
    own = network.state_dict()
    if library is None or (library == "timm" and is_timm_model(network)):
        return {name: name for name in own}
    return their_names(own, library)


def is_timm_model(network: nn.Module) -> bool:
    """Whether it is one of timm's own, of arch=timm."""
    return type(network).__module__.startswith("timm.")


def preprocessing_by_names(path: Path, entries: Entries, libraries: Sequence[str | None]) -> Preprocessing | None:
    """The record of the library whose names a file has: of the weights whose file is called so, else of the default."""
    if libraries[:1] == [None]:
        return None
    names = {str(library): str(entries[library]["name"]) for library in libraries or ["timm"] if library in entries}
    for library, name in names.items():
        if exact := release_with_file_name(path, library, name):
            return library_preprocessing(library, exact)
    records = [record for library, name in names.items() if (record := library_preprocessing(library, name))]
    others = [f"or {other.source}, {said}" for other in records[1:] if (said := records[0].differences(other))]
    return replace(records[0], source=", ".join([records[0].source, *others])) if records else None


def library_preprocessing(library: str, name: str) -> Preprocessing | None:
    return timm_preprocessing(name) if library == "timm" else torchvision_preprocessing(name)


# ---- what the libraries record


def timm_preprocessing(name: str) -> Preprocessing | None:
    """Of timm's weights by name ("resnet50": the default ones), as they are tested; None: timm has no such weights."""
    import timm

    release = timm.get_pretrained_cfg(name)
    if release is None:
        return None
    return from_timm_config(release.to_dict(), f"timm's {release.architecture}.{release.tag}")


def torchvision_preprocessing(name: str) -> Preprocessing:
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


def release_with_file_name(path: Path, library: str, name: str) -> str | None:
    """The name of the library's weights whose file is called as this one: resnet50-0676ba61.pth is IMAGENET1K_V1."""
    model = name.partition(".")[0]
    if library == "timm":
        import timm

        tags = timm.list_pretrained(f"{model}.*")
        urls: dict[str, Any] = {tag: getattr(timm.get_pretrained_cfg(tag), "url", None) for tag in tags}
    else:
        urls = {f"{model}.{weights.name}": weights.url for weights in torchvision_models(model)}
    return next((tag for tag, url in urls.items() if url and Path(url).name == path.name), None)
