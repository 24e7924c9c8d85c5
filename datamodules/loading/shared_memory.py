"""One copy of a data set for all ranks of a machine, in anonymous memory (memfd).

The first process writes it, and an environment variable tells the ranks that Lightning starts from it where it is; they
map the same pages. No other user can replace it, and a kill leaves no file behind. Without memfd, which is Linux's, or
if something else starts the ranks, each rank has its own copy.
"""

import json
import mmap
import os
from pathlib import Path

import torch
from torch import Tensor

PLACE = "LINEAGE_SHARED_DATA"  # the environment variable


def can_share() -> bool:
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


def offer(tensors: list[Tensor], key: str) -> list[Tensor]:
    """Copy tensors to shared memory, if there is any, and offer them to the ranks under a key; returns the copies."""
    if not can_share():
        return tensors
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    file = os.memfd_create("lineage-data")
    os.ftruncate(file, max(size, 1))
    layout = [(str(tensor.dtype).removeprefix("torch."), list(tensor.shape)) for tensor in tensors]
    shared = _map(file, layout)
    for copy, tensor in zip(shared, tensors, strict=True):
        copy.copy_(tensor)
    os.environ[PLACE] = json.dumps({"process": os.getpid(), "file": file, "key": key, "layout": layout})
    return shared


def offered(key: str) -> list[Tensor] | None:
    """The tensors that the first process offers under this key; None if there are none."""
    try:
        place = json.loads(os.environ.get(PLACE, "null"))
        if place is None or place["process"] != os.getppid() or place["key"] != key:
            return None
        file = os.open(f"/proc/{place['process']}/fd/{place['file']}", os.O_RDWR)
        return _map(file, place["layout"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _map(file: int, layout: list[tuple[str, list[int]]]) -> list[Tensor]:
    pages, start, tensors = mmap.mmap(file, 0), 0, []
    for name, shape in layout:
        dtype = getattr(torch, name)
        count = torch.Size(shape).numel()
        tensors.append(torch.frombuffer(pages, dtype=dtype, count=count, offset=start).view(shape))
        start += count * dtype.itemsize
    return tensors
