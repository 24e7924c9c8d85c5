"""What the classes and arguments are called now that runs and checkpoints of version 0.1 name."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INCEPTION_RESNET = "lineage.archs.inception_resnet.InceptionResNet"


def rename(choice: MutableMapping[str, Any]) -> None:
    """Give the `arch` or `datamodule` of a config its current `_target_` and arguments."""
    choice["_target_"] = current_name(str(choice["_target_"]))
    if choice["_target_"] == "lineage.archs.nasnet.NASNet" and "features" in choice:
        choice["filters"] = choice.pop("features") // 24
    if choice.pop("whiten_bias_share", None) is not None:  # of airbench, which had one variant
        choice["variant"] = 2024
    if choice["_target_"].startswith("lineage.archs.inception_resnet.inception_resnet_v"):  # were two functions
        choice["_target_"], choice["variant"] = INCEPTION_RESNET, choice.get("variant", "v1")


def current_name(target: str) -> str:
    """lineage.archs.resnet.ResNet for archs.resnet.ResNet; names of other packages stay."""
    room, _, rest = target.partition(".")
    if room == "datamodules":
        room, rest = "datamodules.sets", rest.replace("folders.", "imagefolder.")
    file = HERE.joinpath(*room.split("."), *rest.split(".")[:-1]).with_suffix(".py")
    return f"lineage.{room}.{rest}" if room.startswith(("archs", "datamodules")) and file.is_file() else target
