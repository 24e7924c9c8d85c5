"""The memory of batches: shared by processes, pinned, and copied to the device without making the host wait."""

import mmap
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor


def copy_to(device: torch.device, tensor: Tensor) -> Tensor:
    """The tensor on a device. A copy to a GPU does not make the host wait: it is from pinned memory."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def copy_together(device: torch.device, labels: Tensor, sample_keys: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (n,) and sample keys (n, 3), both int64, on the device, to which they go in one copy."""
    together = copy_to(device, torch.cat((labels, sample_keys.flatten())))
    return together[: len(labels)], together[len(labels) :].view(-1, 3)


def shared(size: int, forks: bool) -> Tensor:
    """Bytes that processes share. Forked processes inherit anonymous memory, which /dev/shm does not limit."""
    if forks:
        return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)
    return torch.empty(size, dtype=torch.uint8).share_memory_()


def pin(memory: Tensor, device: torch.device) -> bool:
    """Pin memory; returns whether the system allows it."""
    if int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), 0)) == 0:
        return True
    with suppress(RuntimeError):  # CUDA reports a failure once more, at the next launch. torch has no cudaGetLastError.
        torch.zeros(1, device=device)
    return False


def unpin(memory: Tensor, copies: Iterable[Any]) -> None:
    """Undo `pin`. copies: the CUDA events that end the copies from this memory."""
    with suppress(RuntimeError):  # of a GPU that has failed
        for copied in copies:
            copied.synchronize()
        torch.cuda.cudart().cudaHostUnregister(memory.data_ptr())
