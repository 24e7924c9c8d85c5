"""What a finished run leaves in results.json, and the facts it is made of."""

from __future__ import annotations

import copy
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def count_macs(network: nn.Module, channels: int, resolution: int) -> int:
    """Multiply-adds of one image through convolutions and linear layers, counted on tensors without data."""
    shadow = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, channels, resolution, resolution, device="meta"))
    return counter.get_total_flops() // 2


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
