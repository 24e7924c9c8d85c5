"""Place the layers of a network to scale: one after the other, branches side by side, shortcuts above them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from lineage.anatomy.drawing.page import Box, Point
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import Fork, Series, longest

RADIUS, BAR, VECTOR = 9.0, 6.0, 10.0  # of a circle; widths of a concatenation and of a vector
LANE = 8.0  # between branches


@dataclass(frozen=True)
class Shape:
    """The output of a node; (x, y) is the middle of its left side.

    A layer is a slab that stands for `maps` of its channels. A join has no maps: a sum or a gate is a circle, a
    concatenation a bar.
    """

    node: Node
    x: float
    y: float
    width: float
    height: float
    maps: int = 0

    @property
    def box(self) -> Box:
        return self.x, self.y - self.height / 2, self.x + self.width, self.y + self.height / 2


@dataclass(frozen=True)
class Wire:
    """A connection through points: a "line", a "curve" between two points, or an "arc" above the slabs."""

    points: tuple[Point, ...]
    style: str = "line"


@dataclass(frozen=True)
class Frame:
    """Around the `drawn` blocks that stand for `count` equal ones."""

    x: float
    y: float
    width: float
    height: float
    count: int
    drawn: int


Item = Shape | Wire | Frame


@dataclass
class Piece:
    """A part of the drawing in its own coordinates: it begins at (0, 0) and ends at (width, 0); y points down."""

    items: list[Item] = field(default_factory=list)
    width: float = 0.0
    up: float = 0.0
    down: float = 0.0

    def put(self, other: "Piece", x: float, y: float = 0.0) -> None:
        """Add another piece, whose beginning comes to (x, y)."""
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
    """Sizes of what is drawn."""

    pixel: float  # height of a slab per square root of the pixels of its map's side: 7 are readable beside 224
    channel: float  # width of a slab, or height of a vector, per square root of its channels
    spread: float = 1.0  # factor of the gaps

    @property
    def gap(self) -> float:
        return self.spread * min(16.0, 2.0 + 3 * self.channel)

    @property
    def fan(self) -> float:
        """The gap before and after branches."""
        return 2.2 * self.gap

    def root(self, channels: int) -> float:
        return math.sqrt(channels) * self.channel

    def size(self, node: Node) -> tuple[float, float]:
        """Width and height of a slab."""
        if node.side == (1, 1):
            return min(VECTOR, 2 + 6 * self.channel), self.root(node.channels)
        return self.root(node.channels), math.sqrt(node.side[0]) * self.pixel

    def node(self, node: Node, height: float | None = None) -> Piece:
        """A layer or a join; `height` is that of the bar of a concatenation, without which it is drawn as a layer."""
        width, tall = self.size(node)
        maps = node.channels
        if node.kind in ("add", "gate"):
            maps, width = 0, 2 * min(RADIUS, 2 + 4 * self.channel)
            tall = width
        elif node.kind == "concat" and height is not None:
            maps, width, tall = 0, min(BAR, 2 + 2 * self.channel), height
        return Piece([Shape(node, 0, 0, width, tall, maps)], width, tall / 2, tall / 2)

    def series(self, series: Series, local: frozenset[int]) -> Piece:
        """One after the other. Only a node that reads one of `local` is wired to what stands before it."""
        piece = Piece()
        for item in series:
            if isinstance(item, Fork):
                adds = item.join is not None and item.join.kind == "add"
                piece.put(self.residual(item, local) if adds else self.branches(item, local), piece.width)
                continue
            start = piece.width
            if not item.inputs or local.intersection(item.inputs):
                piece.wire((start, 0), (start + self.gap, 0))
            piece.put(self.node(item), start + self.gap)
        return piece

    def residual(self, item: Fork, local: frozenset[int]) -> Piece:
        """The longest branch on the axis, the others in lanes above it, the identity as a wire above all."""
        main, gap = longest(item.branches), self.gap
        piece, body = Piece(), self.series(main, local)
        start = gap if item.bare or len(item.branches) > 1 else 0.0
        piece.wire((0, 0), (start, 0))
        piece.put(body, start)
        assert item.join is not None
        end, circle = piece.width + gap, self.node(item.join)
        middle = end + circle.width / 2
        piece.wire((piece.width, 0), (end, 0))
        for branch in item.branches:
            if branch is not main:
                lane = self.series(branch, local)
                y, x = -(piece.up + LANE + lane.down), (end - lane.width) / 2
                piece.wire((gap / 2, 0), (gap / 2, y), (x, y))
                piece.put(lane, x, y)
                piece.wire((x + lane.width, y), (middle, y), (middle, -circle.up))
        if item.bare:
            piece.up += LANE
            piece.wire((gap / 2, 0), (gap / 2, -piece.up), (middle, -piece.up), (middle, -circle.up))
        piece.put(circle, end)
        return piece

    def branches(self, item: Fork, local: frozenset[int]) -> Piece:
        """Branches in lanes, the first on top; a bare connection is an empty lane."""
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


def in_two_rows(items: Sequence[Item], scale: Scale, distance: float) -> list[Item]:
    """AlexNet's two towers, one per GPU: each row has half the maps of a layer, and the rows are `distance` apart.

    A convolution in two groups, or a pooling, reads its own row; any other layer reads both, so its wires cross.
    """
    slabs = [item for item in items if isinstance(item, Shape)]
    rows: list[list[Shape]] = []
    for slab in slabs:
        if slab.node.kind == "image" or slab is slabs[-1]:
            rows.append([slab])
            continue
        width, height = scale.size(replace(slab.node, channels=slab.node.channels // 2))
        half = replace(slab, x=slab.x + (slab.width - width) / 2, width=width, height=height, maps=slab.maps // 2)
        rows.append([replace(half, y=slab.y + row * distance / 2) for row in (-1, 1)])
    found: list[Item] = [shape for row in rows for shape in row]
    for before, after in pairwise(rows):
        own = after[0].node.groups == 2 or not after[0].node.has_weights
        for start in before:
            for end in after:
                if not own or start.y == end.y or len(before) == 1:
                    found.insert(0, Wire(((start.x + start.width, start.y), (end.x, end.y))))
    return found
