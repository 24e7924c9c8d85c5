"""Write a network for other programs: as timm's or torchvision's weights, as safetensors, ONNX or torch.export.

The result gets its final name only after the target library has loaded it and given the network's own logits.
It holds, where the format has a place for them, the preprocessing of images and the names of the classes.
"""

import copy
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lineage.archs.arguments import ArchitectureError
from lineage.errors import UserError
from lineage.files import cannot_write
from lineage.weights.checkpoint import read_weights
from lineage.weights.libraries import Model, errors_in_a_line, write_timm, write_torchvision
from lineage.weights.preprocessing import to_timm_config

ANY_BATCH = ({0: torch.export.Dim("batch")},)  # dimension 0 of the images may have any size
TOLERANCE = 1e-5  # of max |a - b| / max |b| of float32 logits


def export(model: Model, to: str, output: Path) -> str:
    """Write the network to a file, for timm to a folder, in one of FORMATS; tells how it was loaded again.

    Raises:
        ArchitectureError: the library has no such network, or cannot take it; what is loaded again gives other
            logits; a package is missing. Nothing is left then.
        UserError: the output cannot be written.
    """
    channels, side = len(model.preprocessing.mean), model.preprocessing.resolution
    images = torch.randn(3, channels, side, side, generator=torch.Generator().manual_seed(0))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="part-", dir=output.parent) as folder:
            temporary = Path(folder) / output.name
            with torch.no_grad():
                logits, loader = FORMATS[to](model, temporary, images)
                expected = model.network(images)
            difference = float((logits - expected).abs().max() / expected.abs().max())
            if not difference <= TOLERANCE:
                raise ArchitectureError(f"to={to}: {loader} gives other logits: they differ by {difference:.1e}.")
            os.replace(temporary, output)
    except OSError as error:
        raise UserError(cannot_write(output, error, "choose output=PATH")) from error
    return f"by {loader}: the same logits within {difference:.1e}"


# ---- formats: each writes `file` and returns its logits for the images, and the expression that loads it


def _safetensors(model: Model, file: Path, images: Tensor) -> tuple[Tensor, str]:
    """Our names; the header has the network's arguments, preprocessing and labels as JSON."""
    from safetensors.torch import save_file

    header = {"arch": dict(model.arch), "preprocessing": asdict(model.preprocessing), "labels": model.labels}
    metadata = {"format": "pt", **{key: json.dumps(value) for key, value in header.items()}}
    save_file({name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}, file, metadata)
    loaded = copy.deepcopy(model.network)
    for parameter in loaded.parameters():
        parameter.zero_()
    loaded.load_state_dict(read_weights(file).tensors)
    return loaded(images), "safetensors, which pretrained=FILE takes"


def _onnx(model: Model, file: Path, images: Tensor) -> tuple[Tensor, str]:
    """For batches of any size; the file's metadata has preprocessing and labels."""
    with errors_in_a_line("ONNX"):
        try:
            import onnxruntime
            import onnxscript  # noqa: F401  # torch.onnx needs it
        except ImportError as error:
            raise ArchitectureError("to=onnx needs three packages: pip install onnx onnxscript onnxruntime") from error
        options: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": ANY_BATCH}
        program: Any = torch.onnx.export(model.network, (images[:2],), dynamo=True, verbose=False, **options)
    metadata = {"labels": model.labels, **to_timm_config(model.preprocessing)}
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), "onnxruntime.InferenceSession(FILE)"


def _torch_export(model: Model, file: Path, images: Tensor) -> tuple[Tensor, str]:
    """For batches of any size; the archive's extra file metadata.json has preprocessing and labels."""
    with errors_in_a_line("torch.export"):
        program = torch.export.export(model.network, (images[:2],), dynamic_shapes=ANY_BATCH)
    metadata = json.dumps({"labels": model.labels, "preprocessing": asdict(model.preprocessing)})
    torch.export.save(program, file, extra_files={"metadata.json": metadata})
    return torch.export.load(file).module()(images), "torch.export.load(FILE).module()"


FORMATS: dict[str, Callable[[Model, Path, Tensor], tuple[Tensor, str]]] = {
    "timm": write_timm,
    "torchvision": write_torchvision,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "torch_export": _torch_export,
}
