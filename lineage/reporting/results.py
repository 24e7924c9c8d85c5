"""What a finished run leaves in results.json, and the facts it is made of."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def peak_memory(device: torch.device) -> int:
    """Bytes: the GPU's allocated maximum, or the process's resident maximum."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "torchmetrics", "timm")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_state() -> dict[str, Any]:
    """The commit of the code and whether it was changed since; nulls outside a checkout."""

    def ask(*words: str) -> str | None:
        try:
            out = subprocess.run(
                ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return out.stdout.strip()

    status = ask("status", "--porcelain")
    return {"commit": ask("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
