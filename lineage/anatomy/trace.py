"""One forward pass as a graph of convolutions, poolings, linear layers and joins, with the cost of each module.

Nothing is computed (lineage/anatomy/cost.py). All layers are in evaluation mode.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lineage.anatomy.cost import MultiplyAdds, multiply_adds, operation_name, uninitialised_copy
from lineage.anatomy.graph import Field, Node, Output, Pair, Window, slide, union


class Source(NamedTuple):
    """The nodes that a tensor comes from, and its receptive field."""

    nodes: tuple[int, ...]
    field: Field


def shape(tensor: Tensor) -> tuple[int, Pair]:
    """Channels, height and width of a map, a vector, or tokens, (1, N, C) or (N, C), that form a square."""
    if tensor.dim() == 4:
        return tensor.shape[1], (tensor.shape[2], tensor.shape[3])
    side = math.isqrt(math.prod(tensor.shape[:-1]))
    return tensor.shape[-1], (side, side)


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors among values and in lists of them."""
    flat = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    return [item for item in flat if isinstance(item, Tensor)]


class Trace(MultiplyAdds):
    """Records the operations of a forward pass while entered; see `trace`.

    Attributes:
        nodes: in order of execution.
        outputs: by module.
        macs: multiply-adds by module, without those of its children.
        called: the modules, in order of their first call.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.outputs: dict[str, Output] = {}
        self.macs = Counter[str]()
        self.called: dict[str, None] = {}
        self.running: list[tuple[str, int]] = [("", 0)]  # the modules in execution, and the nodes before each
        self.sources: dict[int, Source] = {}  # by id of a tensor
        self.kept: list[Tensor] = []  # so that no other tensor gets the same id
        self.set_source(image, self.add_node("image", image, (), (Window(), Window())))

    def set_source(self, tensor: Tensor, source: Source) -> None:
        self.sources[id(tensor)] = source
        self.kept.append(tensor)

    def add_node(self, kind: str, out: Tensor, inputs: Sequence[int], field: Field, **attributes: Any) -> Source:
        channels, side = shape(out)
        depth = max((self.nodes[i].depth for i in inputs), default=0) + (kind in ("conv", "linear"))
        index, inputs, owner = len(self.nodes), tuple(dict.fromkeys(inputs)), self.running[-1][0]
        self.nodes.append(Node(index, kind, inputs, owner, channels, side, field, depth, **attributes))
        return Source((index,), field)

    def record(self, func: Any, args: Any, out: Any) -> None:
        macs, before, outputs = multiply_adds(func, args, out), len(self.nodes), tensors_in([out])
        self.macs[self.running[-1][0]] += macs
        source = self.source_of(operation_name(func).removesuffix("_"), args, outputs[0]) if outputs else None
        if len(self.nodes) > before:
            self.nodes[-1] = replace(self.nodes[-1], macs=macs)
        for tensor in outputs:
            if source is not None:
                self.set_source(tensor, source)

    def source_of(self, name: str, args: Any, out: Tensor) -> Source | None:
        """The source of an operation's output, whose node is added; None if it does not depend on the image."""
        given = tensors_in(args)
        sources = [self.sources[id(tensor)] for tensor in given if id(tensor) in self.sources]
        if not sources:
            return None
        source = Source(tuple(dict.fromkeys(i for s in sources for i in s.nodes)), union([s.field for s in sources]))
        if name in ("convolution", "max_pool2d_with_indices", "avg_pool2d"):
            return self.convolution_or_pooling(name, source, args, out)
        if name == "_adaptive_avg_pool2d" and given[0].shape != out.shape:
            step: Any = tuple(math.ceil(a / b) for a, b in zip(given[0].shape[2:], out.shape[2:], strict=True))
            return self.add_node("avg", out, source.nodes, slide(source.field, step, step), kernel=step, stride=step)
        if name == "mean" and len(args) > 1 and len(args[1]) > 1 and given[0].numel() > out.numel():
            return self.add_node("avg", out, source.nodes, None, kernel=tuple(given[0].shape[-2:]))
        if name in ("mm", "addmm"):
            field = None if out.shape[0] == 1 else source.field
            return self.add_node("linear", out, source.nodes, field, weight=tuple(args[-1].shape))
        if name == "slice" and out.dim() == 4:
            return source._replace(field=self.sliced(source.field, *args[1:]))
        if name == "constant_pad_nd":  # the zeros see nothing: the windows only move
            padding = (args[1][2] if len(args[1]) > 2 else 0, args[1][0])
            return source._replace(field=slide(source.field, (1, 1), (1, 1), padding))
        if name == "bmm" or name.startswith("_scaled_dot_product"):  # attention
            return source._replace(field=None)
        if len({s.nodes for s in sources}) > 1:
            return self.join(name, sources, source, out)
        flattened = out.dim() == 2 and out.shape[0] == 1 and given[0].dim() == 4 and given[0].shape[1:] != out.shape[1:]
        return source._replace(field=None) if flattened and given[0].shape[2:].numel() > 1 else source

    def convolution_or_pooling(self, name: str, source: Source, args: Any, out: Tensor) -> Source:
        attributes: dict[str, Any] = {}
        if name == "convolution":
            weight, stride, padding, dilation, groups = args[1], args[3], args[4], args[5], args[8]
            kind, kernel = "conv", tuple(weight.shape[2:])
            attributes = {"groups": groups, "depthwise": groups == args[0].shape[1] and groups > 1}
            attributes["weight"] = (*weight.shape[2:], weight.shape[1], weight.shape[0])
        else:
            kind, kernel = name[:3], args[1]
            stride = args[2] if len(args) > 2 and args[2] else kernel
            padding = args[3] if len(args) > 3 else (0, 0)
            dilation = args[4] if kind == "max" and len(args) > 4 else (1, 1)
        sizes: list[Any] = [tuple(size) * (2 // len(size)) for size in (kernel, stride, padding, dilation)]
        field = slide(source.field, *sizes)
        attributes |= {"kernel": sizes[0], "stride": sizes[1], "padding": sizes[2]}
        return self.add_node(kind, out, source.nodes, field, **attributes)

    @staticmethod
    def sliced(field: Field, dim: int = 0, start: int | None = None, end: Any = None, step: int = 1) -> Field:
        """x[:, :, start::step] takes every `step`-th pixel."""
        if dim < 2:
            return field
        stride, padding = ((step, 1), (-(start or 0), 0)) if dim == 2 else ((1, step), (0, -(start or 0)))
        return slide(field, (1, 1), stride, padding)

    def join(self, name: str, sources: Sequence[Source], source: Source, out: Tensor) -> Source:
        """Paths meet: a sum, a concatenation, or a map times factors that were computed from all of it (a gate).

        A gate's factors see the whole image, but only scale the map: the field is the map's.
        """
        if name in ("add", "cat"):
            return self.add_node({"add": "add", "cat": "concat"}[name], out, source.nodes, source.field)
        maps, factors = [s for s in sources if s.field is not None], [s for s in sources if s.field is None]
        if name != "mul" or not maps or not factors:
            return source
        to_mark = [i for factor in factors for i in factor.nodes]
        while to_mark:
            node = self.nodes[to_mark.pop()]
            if node.field is None and not node.in_gate:
                self.nodes[node.index] = replace(node, in_gate=True)
                to_mark += node.inputs
        return self.add_node("gate", out, [i for s in maps for i in s.nodes], union([s.field for s in maps]))

    def mark_auxiliary(self, logits: Tensor) -> None:
        """Mark the nodes that do not lead to the logits, not even through a gate."""
        leading = set(self.sources[id(logits)].nodes)
        for node in reversed(self.nodes):  # a node stands behind those that it reads
            if node.index in leading:
                leading.update(node.inputs)
            elif not node.in_gate:
                self.nodes[node.index] = replace(node, auxiliary=True)

    def enter_module(self, name: str) -> None:
        self.running.append((name, len(self.nodes)))
        self.called[name] = None

    def leave_module(self, module: nn.Module, given: Any, out: Any) -> None:
        tensor = next(iter(tensors_in([out])), None)
        source = self.sources.get(id(tensor))
        name, before = self.running[-1]
        if tensor is not None and source is not None:
            is_layer = len(self.nodes) == before and not list(module.children())
            if tensor.dim() == 2 and is_layer and given[0].numel() != tensor.numel():
                source = self.add_node("other", tensor, source.nodes, None)  # radial basis functions
                self.set_source(tensor, source)
            depth = max(self.nodes[i].depth for i in source.nodes)
            self.outputs[name] = Output(*shape(tensor), source.field, depth)
        self.running.pop()


def trace(network: nn.Module, channels: int, resolution: int) -> Trace:
    """Follow one image, (1, channels, resolution, resolution), through a copy of the network in evaluation mode.

    Auxiliary heads, which only training uses, run too.
    """
    copied = uninitialised_copy(network)
    copied.training = bool(getattr(network, "aux_weights", ()))  # of the network alone: its layers stay in evaluation
    image = torch.empty(1, channels, resolution, resolution)
    recorder = Trace(image)
    for name, module in copied.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: recorder.enter_module(name))
        module.register_forward_hook(recorder.leave_module)
    with torch.no_grad(), recorder:
        out = copied(image)
    recorder.mark_auxiliary(tensors_in([out])[0])
    return recorder
