"""What the config needs before it is composed: the types of the recipe and of the keys beside the groups, and the
functions that conf/arch computes with. The groups' own types are the signatures of their classes."""

import os
import platform
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from lineage.archs import catalogue  # noqa: F401  # the functions that conf/arch computes with
from lineage.recipes.recipe import Recipe

ConfigStore.instance().store(name="schema", package="recipe", node=Recipe)

OmegaConf.register_new_resolver("add", lambda a, b: a + b, replace=True)

# What lineage export writes where the command does not say: a folder for timm, a file for the others.
ENDINGS = {
    "timm": "-timm",
    "torchvision": ".pth",
    "safetensors": ".safetensors",
    "onnx": ".onnx",
    "torch_export": ".pt2",
}
OmegaConf.register_new_resolver(
    "export_of", lambda run, arch, to: f"exports/{run or arch}{ENDINGS.get(to, '')}", replace=True
)
OmegaConf.register_new_resolver("explanation_of", lambda run, arch: f"explanations/{run or arch}", replace=True)


def network_of_this_machine(trainer: str) -> str:
    """The network of experiment=own_photos: a GPU trains ResNet-50 in minutes, a CPU ResNet-18. torch, which would know
    better, is not imported for it."""
    devices = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, and those of Windows' WSL
    gpu = platform.system() == "Darwin" and platform.machine() == "arm64" or any(map(os.path.exists, devices))
    return "resnet50" if gpu and trainer != "cpu" else "resnet18"


OmegaConf.register_new_resolver("network_of_this_machine", network_of_this_machine, replace=True)

Side = Annotated[int, "1 <= x <= 8192"]  # pixels


@dataclass
class Keys:
    """The keys beside the groups, of all verbs: lineage/config/checks.py checks values by these types."""

    pretrained: str | None
    freeze: str | None
    teacher: str | None
    plugins: list[str]
    seed: Annotated[int, "0 <= x < 2**32"]
    test_weights: Literal["last", "best"]
    best: str
    runs: str
    run: str | Annotated[list[str], "len(x) >= 2"] | None
    checkpoint: Literal["last", "best"] | None
    split: Literal["test", "val", "train"]
    resolution: Side | None
    crop: Annotated[float, "0 < x <= 1"] | None
    views: Literal["flip", "flip_translate", "five", "ten"] | None
    soup: bool
    what: Literal["lr", "batch"]
    steps: Annotated[int, "10 <= x <= 100000"]
    output: str
    to: Literal["timm", "torchvision", "safetensors", "onnx", "torch_export"]
    out: str | None
    max_size: Annotated[int, "16 <= x <= 65535"] | None
    quality: Annotated[int, "1 <= x <= 100"] | None
    images_per_shard: Annotated[int, "1 <= x <= 1000000"]
    check: bool
    images: str | Annotated[list[str], "len(x) >= 1"]
    top: Annotated[int, "x >= 1"]
    columns: Annotated[list[Literal["image", "id", "class", "label", "probability"]], "len(x) >= 1"]
    epoch: Annotated[int, "x >= 0"]
    step: Annotated[int, "x >= 0"]
    pictures: bool
    networks: list[str]
    module: str | None
    layers: bool
    batch: Annotated[list[Annotated[int, "1 <= x <= 65536"]], "len(x) >= 1"]
    device: Literal["cpu", "cuda"]
    accuracy: Literal["papers", "torchvision", "runs"]
    warm_up: Annotated[int, "x >= 1"]
    passes: Annotated[int, "x >= 2"]
    seconds: Annotated[float, "x > 0"]
    max_memory: str | None
    under: str | None
    beside: str | None
    finals_of: str | None
    k: Annotated[int, "x >= 1"]


@dataclass
class PreviewKeys(Keys):
    """The keys of lineage preview, whose `images` is a number."""

    images: Annotated[int, "1 <= x <= 64"]  # type: ignore[assignment]


def key_types(verb: str) -> dict[str, Any]:
    """The types of the keys beside the groups, as a verb has them."""
    return get_type_hints(PreviewKeys if verb == "preview" else Keys, include_extras=True)
