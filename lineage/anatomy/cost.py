"""What a network costs: its parameters, and the multiply-adds of an image. Nothing else in this project counts them.

A forward pass is followed without being computed: what takes time is answered by the shape of its output, unwritten
memory of the CPU. On the meta device, which is made for that, torch would import its compiler first, for seconds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ("mm", "addmm")
# Of the shape of what they are given: normalisation in evaluation, activations; with _ they write into it.
ALIKE = ("relu", "silu", "gelu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid")
NORMALISED = ("native_batch_norm", "_native_batch_norm_legit_no_training")


def name_of(func: Any) -> str:
    return func._overloadpacket.__name__


class Shapes(TorchDispatchMode):
    """While it is entered, operations hand on tensors of the right shape; no value in them means anything."""

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = name_of(func)
        if name == "convolution":
            return args[0].new_empty(convolved(*args))
        if name in PRODUCTS:
            return args[-2].new_empty(args[-2].shape[0], args[-1].shape[1])
        if name in NORMALISED:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        if name.removesuffix("_") in ALIKE:
            return args[0] if name.endswith("_") else torch.empty_like(args[0])
        if name in ("add", "mul") and isinstance(args[1], Tensor):
            return args[0].new_empty(broadcast(args[0].shape, args[1].shape))
        if name == "cat":
            dim = args[1] if len(args) > 1 else 0
            sizes = list(args[0][0].shape)
            sizes[dim] = sum(tensor.shape[dim] for tensor in args[0])
            return args[0][0].new_empty(sizes)
        return func(*args, **kwargs)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether torch shall import its compiler, to leave this out of what it compiles."""
        return False


def convolved(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *_: Any
) -> list[int]:
    """The shape of a convolution's output."""
    if transposed:
        raise NotImplementedError("a transposed convolution: no network here has one")
    sides = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    return [x.shape[0], weight.shape[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)]


def broadcast(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """The shape of an operation on two tensors of these; torch.broadcast_shapes imports what is to be spared."""
    return [max(sizes) for sizes in zip_longest(reversed(a), reversed(b), fillvalue=1)][::-1]


def multiply_adds(func: Any, args: Any, kwargs: Any, out: Any) -> float:
    """Those of one operation: convolutions, products of matrices, attention."""
    name = name_of(func)
    if name == "convolution":
        return out.numel() * math.prod(args[1].shape[1:])
    if name in PRODUCTS:
        return out.numel() * args[-1].shape[0]
    if name in ("bmm", "baddbmm") or name.startswith("_scaled_dot_product"):
        from torch.utils.flop_counter import flop_registry

        return flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) / 2
    return 0.0


class MultiplyAdds(Shapes):
    """Counts while it is entered, in `total`."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self.run(func, args, kwargs or {})
        self.total += multiply_adds(func, args, kwargs or {}, out)
        return out


class SkipInitialisation(TorchFunctionMode):
    """While it is entered, nothing draws initial weights, of which the meta device has none anyway."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def unwritten_copy(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose tensors are memory that nobody has written; the network is left as it is."""
    tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    memo: dict[int, Any] = {id(tensor): blank(tensor) for _, tensor in tensors}
    return copy.deepcopy(network, memo).eval()


def blank(tensor: Tensor) -> Tensor:
    """Its shape, in floats: half precision is slow on CPUs; integers, such as indices, keep theirs as zeros."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    empty = torch.empty(tensor.shape)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def count_macs(network: nn.Module, channels: int, resolution: int) -> int:
    """Multiply-adds of one image through convolutions and linear layers."""
    shadow, image = unwritten_copy(network), torch.empty(1, channels, resolution, resolution)
    with MultiplyAdds() as counter, torch.no_grad():
        shadow(image)
    return round(counter.total)


def count_parameters(network: nn.Module) -> int:
    """Numbers in the network's parameters, frozen ones too; one that several modules share counts once."""
    return sum(parameter.numel() for parameter in network.parameters())
