"""What images weights saw: mean, deviation, resolution, crop and interpolation, as their makers recorded it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineage.archs.arguments import ArchitectureError

LIBRARIES = ("torchvision", "timm")  # those with released weights, as `pretrained` names them
RESIZES = ("bilinear", "bicubic", "area")
TIMMS = {"box": "area"}  # timm's word for it


@dataclass(frozen=True)
class Preprocessing:
    """How a photograph is shown to a network in a test.

    mean, std: per channel, of pixels in [0, 1].
    resolution: pixels of a side of what the network sees.
    crop: the short side is resized to resolution / crop, then the central square of `resolution` is cut.
    interpolation: of that resize: bilinear, bicubic or area.
    crop_mode: timm's word for it: center; squash (both sides, whatever the shape) and border are known, and not made.
    source: whose record this is, in words; "" of our own.

    Raises:
        ArchitectureError: a value that no image can have.
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
        sound = all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
        sound = sound and all(0 <= m <= 1 for m in self.mean) and all(0 < s <= 1 for s in self.std)
        sound = sound and len(self.mean) == len(self.std) and 0 < self.crop <= 1
        if not (sound and isinstance(self.resolution, int) and 1 <= self.resolution <= 8192):
            raise ArchitectureError(f"The record of what images the weights saw is damaged: {asdict(self)}.")
        if self.interpolation not in RESIZES:
            raise ArchitectureError(
                f"The weights saw images resized by {self.interpolation}, and here it is {', '.join(RESIZES)}."
            )

    def __str__(self) -> str:
        return f"{self.size}, mean {_numbers(self.mean)}, std {_numbers(self.std)}"

    @property
    def size(self) -> str:
        """In words, without colours."""
        return f"{self.resolution} px, crop {self.crop:.4g}, {self.interpolation}"

    def differences(self, other: Preprocessing) -> str:
        """What of the other is not as here, in words; "" if nothing is."""
        said = {
            f"{other.resolution} px": self.resolution == other.resolution,
            f"crop {other.crop:.4g}": math.isclose(self.crop, other.crop, abs_tol=1e-6),
            other.interpolation: self.interpolation == other.interpolation,
            f"mean {_numbers(other.mean)}": _numbers(self.mean) == _numbers(other.mean),
            f"std {_numbers(other.std)}": _numbers(self.std) == _numbers(other.std),
        }
        return ", ".join(words for words, same in said.items() if not same)


def _numbers(values: Sequence[float]) -> str:
    return f"[{','.join(f'{value:.4g}' for value in values)}]"


def preprocessing_from(values: Mapping[str, Any]) -> Preprocessing:
    """Of what `dataclasses.asdict` made of one, after a file. Raises ArchitectureError: it was not that."""
    try:
        return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    except (TypeError, KeyError) as error:
        raise ArchitectureError(f"The record of what images the weights saw is damaged: {dict(values)}.") from error


# ---- timm's records


def from_timm_config(record: Mapping[str, Any], source: str) -> Preprocessing:
    """Of the `pretrained_cfg` of a model or of a config.json: its values for tests go before those of training."""
    size = record.get("test_input_size") or record["input_size"]
    return Preprocessing(
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        resolution=int(size[-1]),
        crop=float(record.get("test_crop_pct") or record["crop_pct"]),
        interpolation=TIMMS.get(record["interpolation"], str(record["interpolation"])),
        crop_mode=str(record.get("crop_mode", "center")),
        source=source,
    )


def timm_folder_preprocessing(file: Path) -> Preprocessing | None:
    """Of the config.json beside a file of weights, in the layout of timm's hub; None: there is none."""
    config = file.with_name("config.json")
    if file.name not in ("model.safetensors", "pytorch_model.bin") or not config.is_file():
        return None
    try:
        content = json.loads(config.read_text())
        record = content["pretrained_cfg"]
        return from_timm_config(record, f"timm's {content['architecture']}.{record.get('tag') or 'config.json'}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchitectureError(f"{config} is damaged, or not of timm's making ({type(error).__name__}).") from error


def to_timm_config(preprocessing: Preprocessing) -> dict[str, Any]:
    """The entries of a `pretrained_cfg` that say the same; `from_timm_config`'s other way."""
    side = preprocessing.resolution
    return {
        "input_size": [len(preprocessing.mean), side, side],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "crop_pct": preprocessing.crop,
        "interpolation": {ours: timms for timms, ours in TIMMS.items()}.get(
            preprocessing.interpolation, preprocessing.interpolation
        ),
        "crop_mode": preprocessing.crop_mode,
    }
