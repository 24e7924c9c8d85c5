"""Weights & Biases. Imported only when chosen."""

import hashlib
import netrc
import os
from pathlib import Path

from pytorch_lightning.loggers import WandbLogger


def build(project: str, folder: str) -> WandbLogger:
    """A logger whose wandb run belongs to the run directory: a continued run continues it, also if it was moved.

    Without a key it works offline, where wandb would ask for one.
    """
    if offline := os.environ.get("WANDB_MODE") != "online" and not has_key():
        pattern = Path(folder) / "wandb" / "*run-*"
        print(f"wandb: no key on this machine, so the run stays offline; afterwards: wandb sync {pattern}")
    earlier = sorted(path.name.rpartition("-")[2] for path in Path(folder).glob("wandb/*run-*-*"))
    name = str(Path(folder).resolve())
    return WandbLogger(
        project=project,
        name=Path(folder).name,
        id=earlier[0] if earlier else hashlib.blake2b(name.encode(), digest_size=8).hexdigest(),
        save_dir=folder,
        offline=offline,
        resume=None if offline else "allow",
    )


def has_key() -> bool:
    """Whether the environment or ~/.netrc has a key, so that wandb does not ask for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False
