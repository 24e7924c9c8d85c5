"""A traced network as data: its operations as nodes, and what part of the image each of them sees.

The receptive field follows Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks"
(Distill): layer by layer, the union over all paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

JOINS = ("add", "concat", "gate")


class Window(NamedTuple):
    """Along one side, pixel i of a feature map sees the pixels jump * i + first to jump * i + last of the image."""

    jump: int = 1
    first: int = 0
    last: int = 0

    @property
    def size(self) -> int:
        return self.last - self.first + 1


Field = tuple[Window, ...] | None  # the receptive field in height and width; None: the whole image
Pair = tuple[int, int]  # of height and width


def slide(field: Field, kernel: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1)) -> Field:
    """The field after a convolution or pooling with `padding` pixels before the first."""
    if field is None:
        return None
    return tuple(
        Window(window.jump * s, window.first - p * window.jump, window.last + ((k - 1) * d - p) * window.jump)
        for window, k, s, p, d in zip(field, kernel, stride, padding, dilation, strict=True)
    )


def union(fields: Sequence[Field]) -> Field:
    """What several paths see together."""
    local = [field for field in fields if field is not None]
    if len(local) < len(fields):
        return None
    return tuple(
        Window(max(w.jump for w in side), min(w.first for w in side), max(w.last for w in side))
        for side in zip(*local, strict=True)
    )


@dataclass(frozen=True)
class Node:
    """An operation of the network, of those that the table and the drawing show."""

    index: int
    kind: str  # image, conv, max, avg, linear, other; or a join of several paths: add, concat, gate
    inputs: tuple[int, ...]  # indices of the nodes that it reads
    owner: str  # the module that runs it, by its name in the network
    channels: int
    side: Pair  # of the output
    field: Field
    depth: int  # layers with weights on the longest path from the image
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)  # before the first pixel
    weight: tuple[int, ...] = ()  # its shape: (height, width, in / groups, out) of a convolution, (in, out) of a linear
    macs: int = 0  # multiply-adds
    groups: int = 1
    depthwise: bool = False
    in_gate: bool = False  # computes the factors of a gate (squeeze-and-excitation)
    auxiliary: bool = False  # leads only to an auxiliary head

    @property
    def has_weights(self) -> bool:
        return self.kind in ("conv", "linear")


class Output(NamedTuple):
    """What a module returned: its shape, its receptive field, and the layers with weights on the longest path."""

    channels: int
    side: Pair
    field: Field
    depth: int
