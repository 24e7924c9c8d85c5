"""Read a file of weights, of any training script, as the tensors of a network."""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lineage.archs.arguments import ArchitectureError
from lineage.renames import rename
from lineage.weights.preprocessing import Preprocessing, preprocessing_from, timm_folder_preprocessing

Tensors = dict[str, Tensor]

# What training scripts wrap weights in: the key of a checkpoint, averaged weights first as in timm; and the prefixes
# that Lightning's attribute (ours is network), DistributedDataParallel and torch.compile put before every name.
KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
PREFIXES = ("network.", "module.", "_orig_mod.", "model.", "net.")


class Weights(NamedTuple):
    """Weights that a library released, or those of a file, with what is known of them."""

    title: str  # names them in messages
    tensors: Tensors  # of the network, by name; empty if a file holds no network
    library: str | None = None  # whose names the tensors have; None: this project's
    arch: Mapping[str, Any] = MappingProxyType({})  # the network's arguments
    preprocessing: Preprocessing | None = None  # of the images that the weights were trained on
    classes: list[str] | None = None  # their names, in the order of the logits
    trained_on: str | None = None  # the digest of the training images


def read_weights(path: Path) -> Weights:
    """Read a run's checkpoint, safetensors, or any file that torch.load reads with weights_only=True.

    Raises:
        ArchitectureError: the file cannot be read, or only by running code that it contains.
    """
    try:
        if path.suffix == ".safetensors":
            content = _read_safetensors(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many types
        raise ArchitectureError(f"pretrained={path}: cannot be read as weights ({_reason(error)}).") from error
    if not isinstance(content, Mapping):
        raise ArchitectureError(f"pretrained={path}: cannot be read as weights (it is a {type(content).__name__}).")
    arch, values = content.get("arch"), content.get("preprocessing")
    preprocessing = preprocessing_from(values) if isinstance(values, Mapping) else timm_folder_preprocessing(path)
    states = [value for value in content.values() if isinstance(value, Mapping)]
    data: Mapping[str, Any] = next((state for state in states if "classes" in state), {})  # the datamodule's
    arch = dict(arch) if isinstance(arch, Mapping) else {}
    if "_target_" in arch:
        rename(arch)
    classes = data.get("classes") or content.get("class_names")
    return Weights(str(path), network_weights(content), None, arch, preprocessing, classes, data.get("images"))


def _reason(error: Exception) -> str:
    """Why a file cannot be read. torch's own message on a pickle advises to run the code in it."""
    code = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if code:
        return f"it would run {code.group(1)}"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds none"
    return re.split(r"\n|\. ", str(error))[0]


def _read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors and the metadata that lineage/weights/export.py writes, laid out as in a checkpoint."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is not a mapping
    values = {key: json.loads(metadata[key]) for key in ("arch", "preprocessing") if key in metadata}
    return {"state_dict": tensors, **values}


def network_weights(content: Mapping[str, Any]) -> Tensors:
    """The network's tensors in the content of a file; a run's averaged weights, if it has them."""
    if content.get("averages"):
        content = content["averages"][0]["network"]
    key = next((key for key in KEYS if isinstance(content.get(key), Mapping)), None)
    tensors = {name: value for name, value in (content[key] if key else content).items() if isinstance(value, Tensor)}
    while prefix := next((prefix for prefix in PREFIXES if _is_common(prefix, tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    # torchvision's files of DenseNets have the names of before 2019: denselayer1.norm.1
    return {re.sub(r"(denselayer\d+\.\w+)\.([12])\.", r"\1\2.", name): value for name, value in tensors.items()}


def _is_common(prefix: str, tensors: Tensors) -> bool:
    """Whether most of the names start with the prefix. The rest is not the network's, such as a loss's tensors."""
    return sum(name.startswith(prefix) for name in tensors) > len(tensors) / 2
