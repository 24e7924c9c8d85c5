"""What a network costs: its parameters, and the multiply-adds of one image. All counts of the project are made here.

A forward pass runs without computing: the slow operations return uninitialised memory of the right shape. The meta
device would do the same, but on it torch first imports its compiler, which takes seconds.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose output has the shape of their first argument; with "_" appended they return that argument.
ACTIVATIONS = ("relu", "silu", "gelu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid")
NORMALISATIONS = ("native_batch_norm", "_native_batch_norm_legit_no_training")


def operation_name(func: Any) -> str:
    return func._overloadpacket.__name__


class MultiplyAdds(TorchDispatchMode):
    """Counts in `total` while entered, and the outputs of convolutions in `activations`; tensors have the right shapes
    and meaningless values."""

    total = activations = 0

    def record(self, func: Any, args: Any, out: Any) -> None:
        """Called after each operation."""
        self.total += multiply_adds(func, args, out)
        self.activations += out.numel() if operation_name(func) == "convolution" else 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self.run(func, args, kwargs or {})
        self.record(func, args, out)
        return out

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = operation_name(func)
        if name == "convolution" and not args[6]:  # a transposed one is computed
            return args[0].new_empty(convolution_shape(*args[:6]))
        if name in ("mm", "addmm"):
            return args[-2].new_empty(args[-2].shape[0], args[-1].shape[1])
        if name in NORMALISATIONS:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        if name.removesuffix("_") in ACTIVATIONS:
            return args[0] if name.endswith("_") else torch.empty_like(args[0])
        return func(*args, **kwargs)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: otherwise torch imports its compiler, to exclude this class from compilation."""
        return False


def convolution_shape(x: Tensor, weight: Tensor, _: Any, stride: Any, padding: Any, dilation: Any) -> list[int]:
    sides = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    return [x.shape[0], weight.shape[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)]


def multiply_adds(func: Any, args: Any, out: Any) -> int:
    """Of one operation: a convolution, a product of matrices or attention; 0 of any other."""
    name = operation_name(func)
    if name == "convolution":
        return out.numel() * math.prod(args[1].shape[1:])
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        return out.numel() * args[-1].shape[-2]
    if name.startswith("_scaled_dot_product"):
        query, key, value = args[:3]  # (B, heads, N, E), (B, heads, M, E), (B, heads, M, V)
        return math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    return 0


class SkipInitialisation(TorchFunctionMode):
    """While entered, no initial weights are drawn; for networks on the meta device, which have no values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def uninitialised_copy(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, on the CPU, whose tensors are uninitialised memory."""
    tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    memo: dict[int, Any] = {}
    for _, tensor in tensors:  # float32, since half precision is slow on CPUs; integers may be indices
        floats = tensor.is_floating_point()
        copied = torch.empty(tensor.shape) if floats else torch.zeros(tensor.shape, dtype=tensor.dtype)
        memo[id(tensor)] = nn.Parameter(copied, floats) if isinstance(tensor, nn.Parameter) else copied
    return copy.deepcopy(network, memo).eval()


def count_macs(network: nn.Module, channels: int, resolution: int) -> int:
    """Multiply-adds of one image in convolutions, linear layers and attention."""
    return count_costs(network, channels, resolution)[0]


def count_costs(network: nn.Module, channels: int, resolution: int) -> tuple[int, int]:
    """Multiply-adds of one image, and its activations: what convolutions put out (arXiv 2003.13678, section 3)."""
    with MultiplyAdds() as counter, torch.no_grad():
        uninitialised_copy(network)(torch.empty(1, channels, resolution, resolution))
    return counter.total, counter.activations


def count_parameters(network: nn.Module) -> int:
    """Numbers in the network's parameters, frozen ones too; a parameter that several modules share counts once."""
    return sum(parameter.numel() for parameter in network.parameters())
