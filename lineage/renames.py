"""What the classes are called now that runs and checkpoints of version 0.1 name."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def current_name(target: str) -> str:
    """ "archs.resnet.ResNet" as "lineage.archs.resnet.ResNet"; other names, of other people's packages too, as they are."""
    room, _, rest = target.partition(".")
    if room == "datamodules":
        room, rest = "datamodules.sets", rest.replace("folders.", "imagefolder.")
    file = HERE.joinpath(*room.split("."), *rest.split(".")[:-1]).with_suffix(".py")
    return f"lineage.{room}.{rest}" if room.startswith(("archs", "datamodules")) and file.is_file() else target
