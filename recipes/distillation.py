"""The teacher of a distillation."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

Normalisation = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of each channel


class Teacher(nn.Module):
    """A network in evaluation mode. It gets the student's pixels, normalised anew as in its own training; its notes are
    sentences for the user about its weights."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, own: Normalisation, student: Normalisation, notes: Sequence[str] = ()):
        super().__init__()
        self.network, self.notes = network, list(notes)
        (own_mean, own_std), (mean, std) = (torch.tensor(pair).view(2, 1, -1, 1, 1).unbind() for pair in (own, student))
        self.register_buffer("scale", std / own_std)
        self.register_buffer("shift", (mean - own_mean) / own_std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W), normalised for the student -> logits (B, K)."""
        return self.network(pixels * self.scale + self.shift)

    @cached_property
    def digest(self) -> str:
        """A hash of the weights: a resumed run compares it with that of its first teacher."""
        digest = hashlib.blake2b(digest_size=16)
        for tensor in self.network.state_dict().values():
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()
