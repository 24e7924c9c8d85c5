"""Which library's tensor names a file of weights uses, and which preprocessing its weights expect."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lineage.weights.checkpoint import Tensors, Weights, read_weights
from lineage.weights.counterparts import their_names
from lineage.weights.fetching import torchvision_weights
from lineage.weights.preprocessing import LIBRARIES, Preprocessing, from_timm_config

UNKNOWN = "unknown"
Releases = dict[str, Mapping[str, Any]]  # by library: the name of its weights, and the arguments that these need


def recorded_preprocessing(
    pretrained: str, published: Mapping[str, Any], build: Callable[[], nn.Module]
) -> Preprocessing | None:
    """The preprocessing that the weights `pretrained` were released with; None if it is unknown.

    Args:
        pretrained, published: as `load` takes them.
        build: makes the network, on any device, to compare its tensors' names with those of a file.
    """
    releases = available_releases(published)
    if pretrained in releases:
        return library_preprocessing(pretrained, str(releases[pretrained]["name"]))
    if pretrained in LIBRARIES:
        return None
    return file_weights(build(), Path(pretrained), releases).preprocessing


def file_weights(network: nn.Module, path: Path, releases: Releases) -> Weights:
    """The weights of a file, whose names tell the library; with `UNKNOWN` as library if they tell none."""
    saved = read_weights(path)
    libraries = matching_libraries(network, saved.tensors, releases)
    preprocessing = saved.preprocessing or preprocessing_by_names(path, releases, libraries)
    return saved._replace(library=libraries[0] if libraries else UNKNOWN, preprocessing=preprocessing)


def available_releases(published: Mapping[str, Any]) -> Releases:
    return {library: published[library] for library in LIBRARIES if published.get(library)}


def matching_libraries(network: nn.Module, tensors: Tensors, releases: Releases) -> list[str | None]:
    """The libraries whose names most of the tensors have, best first; None stands for this project.

    torchvision and timm use the same names for some families, such as ResNets: then one that has released weights of
    this network comes first. The list is empty if no library has names for at least half of the network's tensors.
    """
    candidates: list[str | None] = ["timm"] if is_timm_model(network) else [None, *LIBRARIES]
    names = {library: library_names(network, library) or {} for library in candidates}
    common = {library: len(tensors.keys() & {n.split()[0] for n in of.values()}) for library, of in names.items()}
    most = max(common.values())
    best = [library for library in common if common[library] == most > len(network.state_dict()) / 2]
    return sorted(best, key=lambda library: library not in releases)


def library_names(network: nn.Module, library: str | None) -> dict[str, str] | None:
    """A library's names for the network's tensors, as `their_names`; `library` None stands for this project."""
    own = network.state_dict()
    if library is None or (library == "timm" and is_timm_model(network)):
        return dict(zip(own, own, strict=True))
    return their_names(own, library)


def is_timm_model(network: nn.Module) -> bool:
    """Whether the network is a model of timm itself (arch=timm)."""
    return type(network).__module__.startswith("timm.")


def preprocessing_by_names(path: Path, releases: Releases, libraries: Sequence[str | None]) -> Preprocessing | None:
    """The preprocessing of a release of the matching libraries: of the one whose file has this name, else the default.

    If the libraries' default releases differ, the `source` of the first also names the others.
    """
    if libraries[:1] == [None]:
        return None
    names = {str(library): str(releases[library]["name"]) for library in libraries or ["timm"] if library in releases}
    for library, name in names.items():
        if exact := release_with_file_name(path, library, name):
            return library_preprocessing(library, exact)
    found = [one for library, name in names.items() if (one := library_preprocessing(library, name))]
    others = [f"or {other.source}, {values}" for other in found[1:] if (values := found[0].differences(other))]
    return replace(found[0], source=", ".join([found[0].source, *others])) if found else None


# ---- what the libraries state


def library_preprocessing(library: str, name: str) -> Preprocessing | None:
    return timm_preprocessing(name) if library == "timm" else torchvision_preprocessing(name)


def timm_preprocessing(name: str) -> Preprocessing | None:
    """The preprocessing of timm's weights: "resnet50" (the default), "resnet50.a1_in1k"; None if there are none."""
    import timm

    release = timm.get_pretrained_cfg(name)
    if release is None:
        return None
    return from_timm_config(release.to_dict(), f"timm's {release.architecture}.{release.tag}")


def torchvision_preprocessing(name: str) -> Preprocessing:
    """The preprocessing of torchvision's weights: "resnet50" (the default) or "resnet50.IMAGENET1K_V1".

    torchvision's Inception v3 converts ImageNet's normalisation to Google's, images in [-1, 1], inside the network
    (`transform_input`). Ours does not, so its images have mean and deviation 0.5.
    """
    weights, model = torchvision_weights(name), name.partition(".")[0]
    transform = weights.transforms()
    mean, std = ((0.5,) * 3,) * 2 if model == "inception_v3" else (tuple(transform.mean), tuple(transform.std))
    return Preprocessing(
        mean=mean,
        std=std,
        resolution=transform.crop_size[0],
        crop=transform.crop_size[0] / transform.resize_size[0],
        interpolation=transform.interpolation.value,
        source=f"torchvision's {model}.{weights.name}",
    )


def release_with_file_name(path: Path, library: str, name: str) -> str | None:
    """The library's weights that are distributed under this file name: resnet50-0676ba61.pth is IMAGENET1K_V1."""
    model = name.partition(".")[0]
    import timm
    import torchvision

    if library == "timm":
        releases = map(timm.get_pretrained_cfg, tags := timm.list_pretrained(f"{model}.*"))
        urls: dict[str, Any] = {tag: release.url for tag, release in zip(tags, releases, strict=True) if release}
    else:
        every: Any = torchvision.models.get_model_weights(model)
        urls = {f"{model}.{weights.name}": weights.url for weights in every}
    return next((tag for tag, url in urls.items() if url and Path(url).name == path.name), None)
