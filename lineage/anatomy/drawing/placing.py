"""Place the layers of a network to scale: one after the other, branches in lanes, shortcuts over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lineage.anatomy.drawing.page import Point
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import Fork, Series, longest

RADIUS, BAR, VECTOR = 9.0, 6.0, 10.0  # of a circle; width of a concatenation, and of a vector
LANE = 8.0


@dataclass(frozen=True)
class Slab:
    """A layer's output as a rectangle; (x, y) is the middle of its left side. `maps`: of those, it shows so many."""

    node: Node
    x: float
    y: float
    width: float
    height: float
    maps: int


@dataclass(frozen=True)
class Joint:
    """A sum or a gate as a circle, a concatenation as a bar; (x, y) is the middle of its left side."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Wire:
    """A connection through points: straight, a "curve" between two, or an "arc" over the slabs."""

    points: tuple[Point, ...]
    style: str = "line"


@dataclass(frozen=True)
class Frame:
    """Around what stands for `count` equal blocks."""

    x: float
    y: float
    width: float
    height: float
    count: int
    shown: int


Item = Slab | Joint | Wire | Frame


@dataclass
class Piece:
    """A part of the drawing around its own axis: entered at (0, 0), left at (width, 0); y points down."""

    items: list[Item] = field(default_factory=list)
    width: float = 0.0
    up: float = 0.0
    down: float = 0.0

    def put(self, other: Piece, x: float, y: float = 0.0) -> None:
        """Another piece, its entry at (x, y)."""
        self.items += [moved(item, x, y) for item in other.items]
        self.width = max(self.width, x + other.width)
        self.up, self.down = max(self.up, other.up - y), max(self.down, other.down + y)

    def wire(self, *points: Point, style: str = "line") -> None:
        self.items.append(Wire(points, style))


def moved(item: Item, x: float, y: float) -> Item:
    if isinstance(item, Wire):
        return replace(item, points=tuple((px + x, py + y) for px, py in item.points))
    return replace(item, x=item.x + x, y=item.y + y)


@dataclass(frozen=True)
class Scale:
    """Height of a pixel; of n channels the width is `channel` times the square root of n, of a vector the height."""

    pixel: float
    channel: float
    spread: float = 1.0  # of what lies between

    @property
    def gap(self) -> float:
        return self.spread * min(16.0, 2.0 + 3 * self.channel)

    @property
    def fan(self) -> float:
        """Before and after branches."""
        return 2.2 * self.gap

    def root(self, channels: int) -> float:
        return math.sqrt(channels) * self.channel

    def size(self, node: Node) -> tuple[float, float]:
        if node.side == (1, 1):
            return min(VECTOR, 2 + 6 * self.channel), self.root(node.channels)
        return self.root(node.channels), node.side[0] * self.pixel

    def node(self, node: Node, height: float | None = None) -> Piece:
        if node.kind in ("add", "gate"):
            radius = min(RADIUS, 2 + 4 * self.channel)
            return Piece([Joint(node, 0, 0, 2 * radius, 2 * radius)], 2 * radius, radius, radius)
        width, tall = self.size(node)
        if node.kind == "concat" and height is not None:
            bar = min(BAR, 2 + 2 * self.channel)
            return Piece([Joint(node, 0, 0, bar, height)], bar, height / 2, height / 2)
        return Piece([Slab(node, 0, 0, width, tall, node.channels)], width, tall / 2, tall / 2)

    def series(self, series: Series, local: frozenset[int]) -> Piece:
        """One after the other. A node that reads nothing of `local` is not wired to what stands before it."""
        piece = Piece()
        for item in series:
            if isinstance(item, Fork):
                piece.put(self.fork(item, local), piece.width)
                continue
            assert isinstance(item, Node)  # a Tangle is drawn as its output: Block.drawn
            start = piece.width
            if not item.inputs or local.intersection(item.inputs):
                piece.wire((start, 0), (start + self.gap, 0))
            piece.put(self.node(item), start + self.gap)
        return piece

    def fork(self, item: Fork, local: frozenset[int]) -> Piece:
        return self.residual(item, local) if item.join and item.join.kind == "add" else self.lanes(item, local)

    def residual(self, item: Fork, local: frozenset[int]) -> Piece:
        """The longest branch on the axis, others in lanes over it, the identity as a wire over all."""
        main, gap = longest(item.branches), self.gap
        piece, body = Piece(), self.series(main, local)
        start = gap if item.bare or len(item.branches) > 1 else 0.0
        piece.wire((0, 0), (start, 0))
        piece.put(body, start)
        join = piece.width + gap
        assert item.join is not None
        circle = self.node(item.join)
        middle = join + circle.width / 2
        piece.wire((piece.width, 0), (join, 0))
        for branch in item.branches:
            if branch is not main:
                lane = self.series(branch, local)
                y, x = -(piece.up + LANE + lane.down), (join - lane.width) / 2
                piece.wire((gap / 2, 0), (gap / 2, y), (x, y))
                piece.put(lane, x, y)
                piece.wire((x + lane.width, y), (middle, y), (middle, -circle.up))
        if item.bare:
            piece.up += LANE
            piece.wire((gap / 2, 0), (gap / 2, -piece.up), (middle, -piece.up), (middle, -circle.up))
        piece.put(circle, join)
        return piece

    def lanes(self, item: Fork, local: frozenset[int]) -> Piece:
        """Branches side by side, the first on top, a bare connection among them as a lane without slabs."""
        fan, gap = self.fan, self.gap
        bodies = [self.series(branch, local) for branch in item.branches] + [Piece()] * item.bare
        span = sum(body.up + body.down for body in bodies) + LANE * (len(bodies) - 1)
        piece, top = Piece(), -span / 2
        end = fan + max(body.width for body in bodies) + fan / 2
        for body in bodies:
            axis = top + body.up
            piece.wire((0, 0), (fan - gap / 2, axis), style="curve")
            piece.wire((fan - gap / 2, axis), (fan, axis))
            piece.put(body, fan, axis)
            piece.wire((fan + body.width, axis), (end, axis))
            top = axis + body.down + LANE
        if item.join is not None:
            piece.put(self.node(item.join, height=span), end)
        else:
            piece.width = end
        return piece


def stand_in_two_rows(items: Sequence[Item], scale: Scale, distance: float) -> list[Item]:
    """Two towers, as AlexNet's on two GPUs: half the maps of each layer stand in either row, `distance` apart.

    A convolution in two groups, or a pooling, reads its own row; any other layer reads both, and its wires cross.
    """
    slabs = [item for item in items if isinstance(item, Slab)]
    parted, found = [slab.node.kind != "image" and slab is not slabs[-1] for slab in slabs], list[Item]()
    for slab, two in zip(slabs, parted, strict=True):
        width, height = scale.size(replace(slab.node, channels=slab.node.channels // 2)) if two else (0.0, 0.0)
        half = replace(slab, x=slab.x + (slab.width - width) / 2, width=width, height=height, maps=slab.maps // 2)
        found += [replace(half, y=slab.y + row * distance / 2) for row in (-1, 1)] if two else [slab]
    ends = [[item for item in found if isinstance(item, Slab) and item.node is slab.node] for slab in slabs]
    for before, after in zip(ends, ends[1:], strict=False):
        own = after[0].node.groups == 2 or not after[0].node.has_weights
        for start in before:
            for end in after:
                if not own or start.y == end.y or len(before) == 1:
                    found.insert(0, Wire(((start.x + start.width, start.y), (end.x, end.y))))
    return found
