"""Entries of results.json about the machine and the code."""

import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that PyTorch allocated on a GPU, or else the most resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "torchmetrics", "timm")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_state() -> dict[str, Any]:
    """The commit of this package's checkout, and whether files were changed since.

    Both are None if the package is installed, also in an environment that lies in some other repository.
    """
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:  # no repository holds this file
        return {"commit": None, "dirty": None}
    status = _git("status", "--porcelain")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    """The output of a git command in this package's folder; None if it fails."""
    options: dict[str, Any] = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "timeout": 10}
    try:
        return subprocess.run(["git", *arguments], check=True, **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
