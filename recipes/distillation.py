"""The network that a distillation learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

Normalised = tuple[Sequence[float], Sequence[float]]  # mean and deviation of each channel


class Teacher(nn.Module):
    """A network in evaluation mode that is shown a student's pixels: they are brought to its own mean and deviation.

    Args:
        own: what pixels were normalised by when it was trained.
        student: what those that it is shown are normalised by.
        notes: what the user should know of it, in sentences.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, own: Normalised, student: Normalised, notes: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self.notes = network, list(notes)
        (own_mean, own_std), (mean, std) = (torch.tensor(pair).view(2, 1, -1, 1, 1).unbind() for pair in (own, student))
        self.same = torch.equal(own_mean, mean) and torch.equal(own_std, std)
        self.register_buffer("scale", std / own_std)
        self.register_buffer("shift", (mean - own_mean) / own_std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W), normalised for the student -> logits (B, K)."""
        found: Tensor = self.network(pixels if self.same else pixels * self.scale + self.shift)
        return found

    @cached_property
    def digest(self) -> str:
        """Of its weights, by which a run that goes on knows it again."""
        found = hashlib.blake2b(digest_size=16)
        for tensor in self.network.state_dict().values():
            found.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return found.hexdigest()
