"""What a network costs: its parameters, and the multiply-adds of an image. Nothing else in this project counts them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def multiply_adds(func: Any, args: Any, kwargs: Any, out: Any) -> float:
    """Those of one operation, by the formulas of torch.utils.flop_counter: convolutions, products of matrices."""
    formula = flop_registry.get(func._overloadpacket)
    return formula(*args, **kwargs, out_val=out) / 2 if formula else 0.0


class MultiplyAdds(TorchDispatchMode):
    """Counts while it is entered, in `total`.

    torch's own FlopCounterMode, which also tells modules apart, takes twice the time.
    """

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += multiply_adds(func, args, kwargs or {}, out)
        return out


def on_meta(network: nn.Module) -> nn.Module:
    """A copy without data, in evaluation mode; the network itself is left as it is."""
    return copy.deepcopy(network).to("meta").eval()


def count_macs(network: nn.Module, channels: int, resolution: int) -> int:
    """Multiply-adds of one image through convolutions and linear layers, counted on tensors without data."""
    shadow, image = on_meta(network), torch.empty(1, channels, resolution, resolution, device="meta")
    with MultiplyAdds() as counter, torch.no_grad():
        shadow(image)
    return round(counter.total)


def count_parameters(network: nn.Module) -> int:
    """Numbers in the network's parameters, frozen ones too; one that several modules share counts once."""
    return sum(parameter.numel() for parameter in network.parameters())
