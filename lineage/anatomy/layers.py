"""Every layer of a network: its kernel, stride, padding, output, parameters and multiply-adds, with the arithmetic."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from lineage.anatomy.graph import JOINS, Node, Pair
from lineage.anatomy.structure import label
from lineage.anatomy.trace import Trace, trace

NOTES = (
    "weights and biases: of a normalisation, its factors and its shifts. formula: the weights, height x width x input "
    "channels of a filter x filters, times the places of the output where they are applied: the multiply-adds."
)


class Layer(NamedTuple):
    """A row of the table; texts are empty where they do not apply."""

    name: str  # of its module in the network
    kind: str
    stride: str
    padding: str
    output: str  # height x width x channels
    weights: int
    biases: int
    macs: int  # of one image
    formula: str  # 3x3x64x128 x 56x56


def layers(network: nn.Module, channels: int, resolution: int, module: str | None = None) -> list[Layer]:
    """The layers that one image passes, in this order, or those of one module; their parameters are all of these."""
    traced, modules = trace(network, channels, resolution), dict(network.named_modules())
    names = [name for name in dict.fromkeys([*traced.called, *modules]) if module in (None, name)]
    names += [name for name in dict.fromkeys([*traced.called, *modules]) if name.startswith(f"{module}.")]
    return [layer for name in names for layer in _layers_of(name, modules[name], traced)]


def table(found: list[Layer]) -> tuple[list[str], list[list[str]]]:
    """The head, and a row for each layer and for the sums; the name comes last."""
    sums = [f"{sum(column):,}" for column in zip(*(layer[5:8] for layer in found), strict=True)]
    rows = [[*layer[1:5], *map("{:,}".format, layer[5:8]), layer.formula, layer.name] for layer in found]
    head = ["kernel", "stride", "padding", "output", "weights", "biases", "multiply-adds", "formula", "layer"]
    return head, [*rows, ["", "", "", "", *sums, "", "total"]]


def _layers_of(name: str, module: nn.Module, traced: Trace) -> Iterator[Layer]:
    sizes = {key: parameter.numel() for key, parameter in module.named_parameters(recurse=False)}
    biases = sizes.get("bias", 0)
    weights = sum(sizes.values()) - biases
    for node in (node for node in traced.nodes if node.owner == name and node.kind not in ("image", *JOINS)):
        output = f"{_pair(node.side)}x{node.channels}"
        slides = node.kind != "linear" and label(node) != "average"
        stride, padding = (_pair(node.stride), _pair(node.padding)) if slides else ("", "")
        yield Layer(name, label(node), stride, padding, output, weights, biases, node.macs, _formula(node))
        weights = biases = 0  # of a module that runs again
    if weights or biases:
        found = traced.outputs.get(name)
        output = f"{_pair(found.side)}x{found.channels}" if found else ""
        yield Layer(name, type(module).__name__, "", "", output, weights, biases, traced.macs[name], "")


def _pair(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"


def _formula(node: Node) -> str:
    places = f" x {_pair(node.side)}" if node.kind == "conv" else ""
    return "x".join(map(str, node.weight)) + places if node.weight else ""
