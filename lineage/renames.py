"""What the classes are called now that runs and checkpoints of version 0.1 name."""

from pathlib import Path

HERE = Path(__file__).parent


def current_name(target: str) -> str:
    """lineage.archs.resnet.ResNet for archs.resnet.ResNet; names of other packages stay."""
    room, _, rest = target.partition(".")
    if room == "datamodules":
        room, rest = "datamodules.sets", rest.replace("folders.", "imagefolder.")
    file = HERE.joinpath(*room.split("."), *rest.split(".")[:-1]).with_suffix(".py")
    return f"lineage.{room}.{rest}" if room.startswith(("archs", "datamodules")) and file.is_file() else target
