"""A file of weights, ours or anybody's, as the tensors of a network; the only reader of a run's checkpoint as such."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lineage.archs.arguments import ArchitectureError
from lineage.weights.preprocessing import Preprocessing, preprocessing_from, timm_folder_preprocessing

Tensors = dict[str, Tensor]

# What training scripts wrap weights in: a key, averaged weights first as timm does; and, before every name, that of
# Lightning's attribute (ours is network), of DistributedDataParallel and of torch.compile.
KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
PREFIXES = ("network.", "module.", "_orig_mod.", "model.", "net.")


class SavedWeights(NamedTuple):
    """What a file holds.

    tensors: the network's, none if it is something else; arch: the network's arguments, and seen: how the images were
    shown that they saw; classes: their names; each where the file says so.
    """

    tensors: Tensors
    arch: Mapping[str, Any]
    preprocessing: Preprocessing | None
    classes: list[str] | None = None


def read_weights(path: Path) -> SavedWeights:
    """The network's tensors of a file: a run's checkpoint, safetensors, or what torch.load reads as data.

    Raises:
        ArchitectureError: it cannot be read, or not without running code that is in it.
    """
    try:
        if path.suffix == ".safetensors":
            content = _read_safetensors(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file may hold
        raise ArchitectureError(f"pretrained={path}: cannot be read as weights ({_reason(error)}).") from error
    if not isinstance(content, Mapping):
        raise ArchitectureError(f"pretrained={path}: cannot be read as weights (it is a {type(content).__name__}).")
    arch, seen = content.get("arch"), content.get("preprocessing")
    record = preprocessing_from(seen) if isinstance(seen, Mapping) else timm_folder_preprocessing(path)
    classes = next(
        (part["classes"] for part in content.values() if isinstance(part, Mapping) and "classes" in part), None
    )
    return SavedWeights(network_weights(content), arch if isinstance(arch, Mapping) else {}, record, classes)


def _reason(error: Exception) -> str:
    """What is wrong with a file; torch's own words of a pickle tell how to run what is in it."""
    code = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if code:
        return f"it would run {code.group(1)}"
    return "it is none" if isinstance(error, pickle.UnpicklingError) else re.split(r"\n|\. ", str(error))[0]


def _read_safetensors(path: Path) -> dict[str, Any]:
    """As a checkpoint has it: the tensors, and what lineage/weights/export.py wrote into the header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    return {
        "state_dict": tensors,
        **{key: json.loads(header[key]) for key in ("arch", "preprocessing") if key in header},
    }


def network_weights(content: Mapping[str, Any]) -> Tensors:
    """The network's tensors of a checkpoint of a run, averaged ones if it has them; or of a file of weights."""
    if content.get("averages"):
        content = content["averages"][0]["network"]
    key = next((key for key in KEYS if isinstance(content.get(key), Mapping)), None)
    found = {name: value for name, value in (content[key] if key else content).items() if isinstance(value, Tensor)}
    while prefix := next((prefix for prefix in PREFIXES if _is_common(prefix, found)), None):
        found = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    # torchvision's files of DenseNets have names of before 2019: denselayer1.norm.1
    return {re.sub(r"(denselayer\d+\.\w+)\.([12])\.", r"\1\2.", name): value for name, value in found.items()}


def _is_common(prefix: str, tensors: Tensors) -> bool:
    """Whether the network is what has the prefix: most of the file, beside such as a loss's own tensors."""
    return sum(name.startswith(prefix) for name in tensors) > len(tensors) / 2
