"""How images are preprocessed before a network evaluates them: mean, deviation, resolution, crop and interpolation."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineage.archs.arguments import ArchitectureError

LIBRARIES = ("torchvision", "timm")  # those that release weights, as `pretrained` names them
INTERPOLATIONS = ("bilinear", "bicubic", "area")
FROM_TIMM = {"box": "area"}  # interpolations that timm calls otherwise
TO_TIMM = {ours: timms for timms, ours in FROM_TIMM.items()}


@dataclass(frozen=True)
class Preprocessing:
    """How an evaluation turns a photograph into the input of a network.

    Attributes:
        mean, std: per channel, of pixels in [0, 1].
        resolution: side of the network's input, in pixels.
        crop: the short side is resized to resolution / crop, then the central square of `resolution` is cut out.
        interpolation: of that resize, one of INTERPOLATIONS.
        crop_mode: as timm names it. Only "center" is implemented here.
        source: the released weights that this belongs to; "" if it was not read from a library.

    Raises:
        ArchitectureError: a value is out of its range.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resolution: int
    crop: float
    interpolation: str
    crop_mode: str = "center"
    source: str = ""

    def __post_init__(self) -> None:
        numbers = [*self.mean, *self.std, self.crop]
        valid = all(isinstance(number, int | float) and 0 <= number <= 1 for number in numbers)  # false for nan too
        valid = valid and all(number > 0 for number in (*self.std, self.crop)) and len(self.mean) == len(self.std)
        if not (valid and isinstance(self.resolution, int) and 1 <= self.resolution <= 8192):
            raise ArchitectureError(f"The weights' preprocessing is damaged: {asdict(self)}.")
        if self.interpolation not in INTERPOLATIONS:
            known = f"available are {', '.join(INTERPOLATIONS)}"
            raise ArchitectureError(f"The weights need interpolation={self.interpolation}; {known}.")

    def __str__(self) -> str:
        return f"{self.size}, mean {_numbers(self.mean)}, std {_numbers(self.std)}"

    @property
    def size(self) -> str:
        """Resolution, crop and interpolation as text."""
        return f"{self.resolution} px, crop {self.crop:.4g}, {self.interpolation}"

    def differences(self, other: "Preprocessing") -> str:
        """The values of `other` that differ from these, as text; "" if none does."""
        texts = {
            f"{other.resolution} px": self.resolution == other.resolution,
            f"crop {other.crop:.4g}": math.isclose(self.crop, other.crop, abs_tol=1e-6),
            other.interpolation: self.interpolation == other.interpolation,
            f"mean {_numbers(other.mean)}": _numbers(self.mean) == _numbers(other.mean),
            f"std {_numbers(other.std)}": _numbers(self.std) == _numbers(other.std),
        }
        return ", ".join(text for text, equal in texts.items() if not equal)


def _numbers(values: Sequence[float]) -> str:
    return f"[{','.join(f'{value:.4g}' for value in values)}]"


def preprocessing_from(values: Mapping[str, Any]) -> Preprocessing:
    """The inverse of `dataclasses.asdict`, for values read from a file. Raises ArchitectureError: they are damaged."""
    try:
        return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    except (TypeError, KeyError) as error:
        raise ArchitectureError(f"The weights' preprocessing is damaged: {dict(values)}.") from error


# ---- timm's `pretrained_cfg`


def weights_file(place: str) -> Path:
    """The file of weights at a place: the file itself, or that of a folder as lineage export to=timm writes it."""
    path = Path(place)
    return path / "model.safetensors" if path.is_dir() else path


def from_timm_config(config: Mapping[str, Any], source: str) -> Preprocessing:
    """From the `pretrained_cfg` of a model or of a config.json; its values for tests take precedence."""
    size = config.get("test_input_size") or config["input_size"]
    return Preprocessing(
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resolution=int(size[-1]),
        crop=float(config.get("test_crop_pct") or config["crop_pct"]),
        interpolation=FROM_TIMM.get(config["interpolation"], str(config["interpolation"])),
        crop_mode=str(config.get("crop_mode", "center")),
        source=source,
    )


def to_timm_config(preprocessing: Preprocessing) -> dict[str, Any]:
    """The inverse of `from_timm_config`: the entries of a `pretrained_cfg`."""
    side = preprocessing.resolution
    return {
        "input_size": [len(preprocessing.mean), side, side],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "crop_pct": preprocessing.crop,
        "interpolation": TO_TIMM.get(preprocessing.interpolation, preprocessing.interpolation),
        "crop_mode": preprocessing.crop_mode,
    }


def timm_folder_preprocessing(weights: Path) -> Preprocessing | None:
    """From the config.json beside a file of weights, as timm's hub lays them out; None if there is none."""
    config = weights.with_name("config.json")
    if weights.name not in ("model.safetensors", "pytorch_model.bin") or not config.is_file():
        return None
    try:
        content = json.loads(config.read_text())
        pretrained = content["pretrained_cfg"]
        name = f"{content['architecture']}.{pretrained.get('tag') or 'config.json'}"
        return from_timm_config(pretrained, f"timm's {name}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchitectureError(f"{config} is damaged, or timm did not write it ({type(error).__name__}).") from error
