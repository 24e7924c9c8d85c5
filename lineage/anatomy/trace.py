"""One forward pass as a graph: convolutions, poolings, linear layers and joins, with what each of them costs and sees.

Nothing is computed (lineage/anatomy/cost.py). Layers are in evaluation mode. The receptive field follows Araujo,
Norris, Sim
2019, "Computing receptive fields of convolutional neural networks" (Distill): layer by layer, the union over all paths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lineage.anatomy.cost import Shapes, multiply_adds, name_of, unwritten_copy

JOINS = ("add", "concat", "gate")


class Window(NamedTuple):
    """Along one side, pixel i of a map sees the pixels jump * i + first to jump * i + last of the image."""

    jump: int = 1
    first: int = 0
    last: int = 0

    def slide(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
        """What a pixel sees after a sliding window, `padding` pixels having been put before the first."""
        reach = (kernel - 1) * dilation - padding
        return Window(self.jump * stride, self.first - padding * self.jump, self.last + reach * self.jump)

    @property
    def size(self) -> int:
        return self.last - self.first + 1


Field = tuple[Window, Window] | None  # of height and width; None: the whole image, after global pooling


def union(fields: Sequence[Field]) -> Field:
    """What several paths see together."""
    local = [field for field in fields if field is not None]
    if len(local) < len(fields):
        return None
    height, width = (
        Window(max(w.jump for w in side), min(w.first for w in side), max(w.last for w in side))
        for side in zip(*local, strict=True)
    )
    return height, width


@dataclass(frozen=True)
class Node:
    """A step of the network that is drawn: `inputs` are the indices of the nodes that it reads."""

    index: int
    kind: str  # image, conv, max, avg, linear, other; or a join: add, concat, gate
    inputs: tuple[int, ...]
    owner: str  # the module that runs it, by its name in the network
    channels: int
    side: tuple[int, int]  # height and width of the output
    field: Field
    depth: int  # layers with weights on the longest path from the image
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1
    depthwise: bool = False
    in_gate: bool = False  # computes the factors of a gate (squeeze-and-excitation)
    auxiliary: bool = False  # leads to an auxiliary head only

    @property
    def weighted(self) -> bool:
        return self.kind in ("conv", "linear")


class Value(NamedTuple):
    """Where a tensor comes from, and what its pixels see."""

    sources: tuple[int, ...]
    field: Field


class Output(NamedTuple):
    """What a module handed on: shape (channels, height, width), receptive field, layers on the longest path."""

    channels: int
    side: tuple[int, int]
    field: Field
    depth: int


def shape(tensor: Tensor) -> tuple[int, tuple[int, int]]:
    """Channels, height and width of a map, a vector, or the tokens (1, N, C) or (N, C) of a square."""
    if tensor.dim() == 4:
        return tensor.shape[1], (tensor.shape[2], tensor.shape[3])
    side = math.isqrt(math.prod(tensor.shape[:-1]))
    return tensor.shape[-1], (side, side)


class Trace(Shapes):
    """Records the operations of a forward pass; see `trace`."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.outputs: dict[str, Output] = {}  # by module
        self.macs: dict[str, float] = {}  # by module, its children apart
        self.calls: list[str] = [""]  # the modules that are running
        self.called: dict[str, None] = {}  # in order of their first call
        self.values: dict[int, Value] = {}
        self.kept: list[Tensor] = []  # a tensor that is freed would lend its id to another
        start = Window()
        self.set(image, Value((self.add_node("image", image, (), (start, start)),), (start, start)))

    def set(self, tensor: Tensor, value: Value) -> None:
        self.values[id(tensor)] = value
        self.kept.append(tensor)

    def add_node(self, kind: str, out: Tensor, inputs: Sequence[int], field: Field, **facts: Any) -> int:
        channels, side = shape(out)
        depth = max((self.nodes[i].depth for i in inputs), default=0) + (kind in ("conv", "linear"))
        inputs = tuple(dict.fromkeys(inputs))
        node = Node(len(self.nodes), kind, inputs, self.calls[-1], channels, side, field, depth, **facts)
        self.nodes.append(node)
        return node.index

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = self.run(func, args, kwargs)
        module = self.calls[-1]
        self.macs[module] = self.macs.get(module, 0.0) + multiply_adds(func, args, kwargs, out)
        first = out[0] if isinstance(out, tuple | list) else out
        if isinstance(first, Tensor):
            value = self.read(name_of(func).removesuffix("_"), args, kwargs, first)
            if value is not None:
                for tensor in out if isinstance(out, tuple | list) else (out,):
                    if isinstance(tensor, Tensor):
                        self.set(tensor, value)
        return out

    def read(self, name: str, args: Any, kwargs: Any, out: Tensor) -> Value | None:
        """The value of an operation's output; None if it does not depend on the image."""
        given = [t for arg in args for t in (arg if isinstance(arg, list | tuple) else [arg]) if isinstance(t, Tensor)]
        values = [self.values[id(t)] for t in given if id(t) in self.values]
        if not values:
            return None
        value = Value(tuple(dict.fromkeys(i for v in values for i in v.sources)), union([v.field for v in values]))
        if name in ("convolution", "max_pool2d_with_indices", "avg_pool2d"):
            return self.slide(name, value, args, out)
        if name == "_adaptive_avg_pool2d":
            return self.adapt(value, given[0], out)
        if name == "mean" and len(args) > 1 and len(args[1]) > 1 and given[0].numel() > out.numel():
            return self.node("avg", out, value.sources, None, kernel=tuple(given[0].shape[-2:]))
        if name in ("mm", "addmm"):
            return self.node("linear", out, value.sources, None if out.shape[0] == 1 else value.field)
        if name == "slice" and out.dim() == 4:
            return self.cut(value, *args[1:])
        if name == "constant_pad_nd" and value.field is not None:
            pads = [args[1][2] if len(args[1]) > 2 else 0, args[1][0]]
            height, width = (window.slide(1, 1, pad) for window, pad in zip(value.field, pads, strict=True))
            return value._replace(field=(height, width))  # zeros are not seen: the windows only move
        if name == "bmm" or name.startswith("_scaled_dot_product"):  # attention
            return value._replace(field=None)
        if len({v.sources for v in values}) > 1:
            return self.join(name, values, value, out)
        if out.dim() == 2 and out.shape[0] == 1 and given[0].shape[1:] != out.shape[1:] and given[0].dim() == 4:
            return value if given[0].shape[2:].numel() == 1 else value._replace(field=None)  # flattened
        return value

    def node(self, kind: str, out: Tensor, sources: Sequence[int], field: Field, **facts: Any) -> Value:
        return Value((self.add_node(kind, out, sources, field, **facts),), field)

    def slide(self, name: str, value: Value, args: Any, out: Tensor) -> Value:
        if name == "convolution":
            weight, stride, padding, dilation, groups = args[1], args[3], args[4], args[5], args[8]
            kind, kernel = "conv", tuple(weight.shape[2:])
            facts = {"groups": groups, "depthwise": groups == args[0].shape[1] and groups > 1}
        else:
            kind, kernel, facts = name[:3], args[1], {}
            stride = args[2] if len(args) > 2 and args[2] else kernel
            padding = args[3] if len(args) > 3 else (0, 0)
            dilation = args[4] if kind == "max" and len(args) > 4 else (1, 1)
        sizes = [tuple(pair) * (2 // len(pair)) for pair in (kernel, stride, padding, dilation)]
        field = value.field
        if field is not None:
            height, width = (w.slide(*side) for w, side in zip(field, zip(*sizes, strict=True), strict=True))
            field = height, width
        return self.node(kind, out, value.sources, field, kernel=sizes[0], stride=sizes[1], **facts)

    def adapt(self, value: Value, given: Tensor, out: Tensor) -> Value:
        """Adaptive pooling; nothing where the map already has the size."""
        if given.shape == out.shape:
            return value
        steps = [math.ceil(a / b) for a, b in zip(given.shape[2:], out.shape[2:], strict=True)]
        field = value.field
        if field is not None:
            height, width = (w.slide(step, step) for w, step in zip(field, steps, strict=True))
            field = height, width
        return self.node("avg", out, value.sources, field, kernel=(steps[0], steps[1]), stride=(steps[0], steps[1]))

    def cut(self, value: Value, dim: int = 0, start: int | None = None, end: Any = None, step: int = 1) -> Value:
        """x[:, :, start::step]: every `step`-th pixel."""
        if value.field is None or dim < 2:
            return value
        sides = list(value.field)
        sides[dim - 2] = sides[dim - 2].slide(1, step, -(start or 0))
        return value._replace(field=(sides[0], sides[1]))

    def join(self, name: str, values: Sequence[Value], value: Value, out: Tensor) -> Value:
        """Paths meet: a sum, a concatenation, or a map times factors that were computed from all of it (a gate).

        A gate's factors see the whole image, but they only scale what the map sees: its field is the map's.
        """
        if name in ("add", "cat"):
            return self.node({"add": "add", "cat": "concat"}[name], out, value.sources, value.field)
        factors = [v for v in values if v.field is None]
        if name != "mul" or not 0 < len(factors) < len(values):
            return value
        behind = [i for v in factors for i in v.sources]
        while behind:
            node = self.nodes[behind.pop()]
            if node.field is None and not node.in_gate:
                self.nodes[node.index] = replace(node, in_gate=True)
                behind += node.inputs
        mapped = dict.fromkeys(i for v in values if v.field is not None for i in v.sources)
        field = union([v.field for v in values if v.field is not None])
        return self.node("gate", out, tuple(mapped), field)

    def mark_auxiliary(self, ends: Sequence[int]) -> None:
        """Mark what does not lead to `ends`, by way of a gate neither."""
        leads, behind = set(), list(ends)
        while behind:
            node = self.nodes[behind.pop()]
            if node.index not in leads:
                leads.add(node.index)
                behind += node.inputs
        for node in self.nodes:
            if node.index not in leads and not node.in_gate:
                self.nodes[node.index] = replace(node, auxiliary=True)

    def enter(self, name: str) -> None:
        self.calls.append(name)
        self.called[name] = None

    def leave(self, name: str, module: nn.Module, given: Any, out: Any, before: int) -> None:
        tensor = out[0] if isinstance(out, tuple | list) else out
        value = self.values.get(id(tensor)) if isinstance(tensor, Tensor) else None
        if value is not None:
            drawn = len(self.nodes) > before
            if tensor.dim() == 2 and not drawn and not list(module.children()) and given[0].numel() != tensor.numel():
                value = self.node("other", tensor, value.sources, None)  # radial basis functions
                self.set(tensor, value)
            depth = max(self.nodes[i].depth for i in value.sources)
            self.outputs[name] = Output(*shape(tensor), value.field, depth)
        self.calls.pop()


@contextmanager
def hooked(network: nn.Module, recorder: Trace) -> Iterator[None]:
    """Tell the recorder which module runs."""
    handles, counts = [], {}
    for name, module in network.named_modules():

        def enter(module: nn.Module, given: Any, name: str = name) -> None:
            counts[name] = len(recorder.nodes)
            recorder.enter(name)

        def leave(module: nn.Module, given: Any, out: Any, name: str = name) -> None:
            recorder.leave(name, module, given, out, counts[name])

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def trace(network: nn.Module, channels: int, resolution: int) -> Trace:
    """Follow one image, (1, channels, resolution, resolution), through the layers in evaluation mode.

    Auxiliary heads, which answer in training only, run too. The network is left as it is: a copy without data runs.
    """
    shadow = unwritten_copy(network)
    shadow.training = bool(getattr(network, "aux_weights", ()))  # its own way only: layers stay in evaluation mode
    image = torch.empty(1, channels, resolution, resolution)
    recorder = Trace(image)
    with hooked(shadow, recorder), torch.no_grad(), recorder:
        answer = shadow(image)
    logits = answer[0] if isinstance(answer, tuple | list) else answer
    recorder.mark_auxiliary(recorder.values[id(logits)].sources)
    return recorder
