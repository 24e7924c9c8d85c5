"""Weights out: a network as timm, torchvision (lineage/weights/libraries.py), safetensors, ONNX or torch.export have
it.

What is written is read back by the library that it is for, and has to give the network's own logits, before it stands
at its place. Beside the weights goes what whoever uses them has to know: how images are shown, and what classes mean.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lineage.archs.arguments import ArchitectureError
from lineage.weights.checkpoint import read_weights
from lineage.weights.libraries import Model, one_line, write_timm, write_torchvision
from lineage.weights.preprocessing import to_timm_config

TOLERANCE = 1e-5  # of max |a - b| / max |b| of float32 logits


def export(model: Model, to: str, place: Path) -> str:
    """Write the network to a file, for timm to a folder; returns how it was read back, in words.

    Args:
        to: one of FORMATS.

    Raises:
        ArchitectureError: the library has no such network, or cannot take it; what is read back answers otherwise; a
            package is missing. Nothing is left then.
    """
    part = place.with_name(f"part-{place.name}")
    size = (len(model.preprocessing.mean), model.preprocessing.resolution, model.preprocessing.resolution)
    images = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad():
            answers, how = FORMATS[to](model, part, images)
            expected = model.network(images)
        difference = float((answers - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:
            raise ArchitectureError(f"to={to}: {how} answers otherwise: its logits differ by {difference:.1e}.")
        os.replace(part, place)
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    return f"by {how}: the same logits within {difference:.1e}"


# ---- formats that take any network


def _safetensors(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """Our names, and in the header arch, preprocessing and labels as JSON."""
    from safetensors.torch import save_file

    facts = {"arch": dict(model.arch), "preprocessing": asdict(model.preprocessing), "labels": model.labels}
    header = {key: json.dumps(value) for key, value in facts.items()}
    save_file({k: t.contiguous() for k, t in model.network.state_dict().items()}, part, {"format": "pt", **header})
    twin = copy.deepcopy(model.network)
    for parameter in twin.parameters():
        parameter.zero_()
    twin.load_state_dict(read_weights(part).tensors)
    return twin(images), "safetensors, which pretrained=FILE takes"


def _onnx(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """Any number of images at a time; what goes with the network is in the file's metadata."""
    with one_line("ONNX"):
        try:
            import onnxruntime
            import onnxscript  # noqa: F401  # torch.onnx needs it
        except ImportError as error:
            raise ArchitectureError("to=onnx needs three packages: pip install onnx onnxscript onnxruntime") from error
        program: Any = torch.onnx.export(
            model.network,
            (images[:2],),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    facts = {"labels": model.labels, **to_timm_config(model.preprocessing)}
    program.model.metadata_props.update({key: json.dumps(value) for key, value in facts.items()})
    program.save(str(part))
    session = onnxruntime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), "onnxruntime.InferenceSession(FILE)"


def _torch_export(model: Model, part: Path, images: Tensor) -> tuple[Tensor, str]:
    """As ONNX; labels and preprocessing are the archive's extra file, facts.json."""
    with one_line("torch.export"):
        program = torch.export.export(model.network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    facts = json.dumps({"labels": model.labels, "preprocessing": asdict(model.preprocessing)})
    torch.export.save(program, part, extra_files={"facts.json": facts})
    return torch.export.load(part).module()(images), "torch.export.load(FILE).module()"


FORMATS: dict[str, Callable[[Model, Path, Tensor], tuple[Tensor, str]]] = {
    "timm": write_timm,
    "torchvision": write_torchvision,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "torch_export": _torch_export,
}
