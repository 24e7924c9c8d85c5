"""What images weights saw: mean, deviation, resolution, crop and interpolation, as their makers recorded it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archs.arguments import ArchitectureError

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


def from_values(values: Mapping[str, Any]) -> Preprocessing:
    """Of what `dataclasses.asdict` made of one, after a file. Raises ArchitectureError: it was not that."""
    try:
        return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    except (TypeError, KeyError) as error:
        raise ArchitectureError(f"The record of what images the weights saw is damaged: {dict(values)}.") from error


# ---- timm's records


def of_timm(name: str) -> Preprocessing | None:
    """Of timm's weights by name ("resnet50": the default ones), as they are tested; None: timm has no such weights."""
    import timm

    release = timm.get_pretrained_cfg(name)
    if release is None:
        return None
    return of_timm_record(release.to_dict(), f"timm's {release.architecture}.{release.tag}")


def of_timm_record(record: Mapping[str, Any], source: str) -> Preprocessing:
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


def of_timms_folder(file: Path) -> Preprocessing | None:
    """Of the config.json beside a file of weights, in the layout of timm's hub; None: there is none."""
    config = file.with_name("config.json")
    if file.name not in ("model.safetensors", "pytorch_model.bin") or not config.is_file():
        return None
    try:
        content = json.loads(config.read_text())
        record = content["pretrained_cfg"]
        return of_timm_record(record, f"timm's {content['architecture']}.{record.get('tag') or 'config.json'}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchitectureError(f"{config} is damaged, or not of timm's making ({type(error).__name__}).") from error


def timm_record(shown: Preprocessing) -> dict[str, Any]:
    """The entries of a `pretrained_cfg` that say the same; `of_timm_record`'s other way."""
    side = shown.resolution
    return {
        "input_size": [len(shown.mean), side, side],
        "mean": list(shown.mean),
        "std": list(shown.std),
        "crop_pct": shown.crop,
        "interpolation": {ours: timms for timms, ours in TIMMS.items()}.get(shown.interpolation, shown.interpolation),
        "crop_mode": shown.crop_mode,
    }


# ---- torchvision's


def of_torchvision(name: str) -> Preprocessing:
    """Of torchvision's weights by name ("resnet50" or "resnet50.IMAGENET1K_V1").

    Its Inception v3 turns ImageNet's normalisation into Google's, images in [-1, 1], inside the network
    (`transform_input`), and ours does not.
    """
    from weights.fetching import torchvision_weights

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


# ---- of a file that either of them released


def named_like(path: Path, library: str, name: str) -> str | None:
    """The name of the library's weights whose file is called as this one: resnet50-0676ba61.pth is IMAGENET1K_V1."""
    model = name.partition(".")[0]
    if library == "timm":
        import timm

        tags = timm.list_pretrained(f"{model}.*")
        urls: dict[str, Any] = {tag: getattr(timm.get_pretrained_cfg(tag), "url", None) for tag in tags}
    else:
        from weights.fetching import torchvision_models

        urls = {f"{model}.{weights.name}": weights.url for weights in torchvision_models(model)}
    return next((tag for tag, url in urls.items() if url and Path(url).name == path.name), None)
