"""What a drawing of a network is made of, in inches, as plain data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from anatomy.trace import Node

WIDTH = 12.0  # of a drawing, unless it has many columns
RADIUS = 0.045  # of a sum's circle

Point = tuple[float, float]


@dataclass(frozen=True)
class Slab:
    """A node as a rectangle; (x, y) is the middle of its left side, y pointing up from the axis."""

    node: Node
    row: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Joint:
    """A sum or a gate as a circle, or a concatenation as a bar of a height; (x, y) is the middle of its left side."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Wire:
    """A connection through points: straight, with rounded corners, "curve" between two, or an "arc" over the axis."""

    points: tuple[Point, ...]
    style: str = "line"


@dataclass(frozen=True)
class Repeat:
    """A frame around blocks that stand for `count` equal ones."""

    x: float
    y: float
    width: float
    height: float
    count: int
    shown: int


Item = Slab | Joint | Wire | Repeat


@dataclass(frozen=True)
class Band:
    """The ground of a stage, with its caption."""

    row: int
    name: str
    caption: str
    content: str
    x: float
    width: float


@dataclass(frozen=True)
class Drawing:
    """All of it; `up` and `down` are the extents over and under the axis, the scales are inches a pixel, a unit."""

    slabs: list[Slab]
    joints: list[Joint]
    wires: list[Wire]
    repeats: list[Repeat]
    bands: list[Band]
    width: float
    up: float
    down: float
    per_pixel: float
    per_channel: float
    per_unit: float

    @property
    def zoom(self) -> float:
        """Of letters: a wide drawing is looked at from further away."""
        return max(self.width / WIDTH, 1.0)

    def digest(self, *texts: str) -> str:
        """A short name of the geometry and of what is written beside it, whatever renders them."""
        items: list[Item | Band] = [*self.slabs, *self.joints, *self.wires, *self.repeats, *self.bands]
        text = "\n".join([*map(describe, items), *texts])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe(item: Item | Band) -> str:
    """A line of a digest, to a thousandth of an inch."""
    values = []
    for value in vars(item).values():
        if isinstance(value, Node):
            value = (value.kind, value.kernel, value.depthwise, value.channels, value.side)
        if isinstance(value, float):
            value = f"{value + 0.0:.3f}"
        if isinstance(value, tuple) and value and isinstance(value[0], tuple) and isinstance(item, Wire):
            value = [f"{x:.3f},{y:.3f}" for x, y in value]
        values.append(str(value))
    return type(item).__name__ + " " + " ".join(values)


@dataclass
class Piece:
    """A part of the drawing around its own axis: it is entered at (0, 0) and left at (width, 0)."""

    items: list[Item] = field(default_factory=list)
    width: float = 0.0
    up: float = 0.0
    down: float = 0.0

    def put(self, other: Piece, x: float, y: float = 0.0) -> None:
        """Draw another piece here, its entry at (x, y)."""
        self.items += [moved(item, x, y) for item in other.items]
        self.width = max(self.width, x + other.width)
        self.up, self.down = max(self.up, other.up + y), max(self.down, other.down - y)

    def wire(self, *points: Point, style: str = "line") -> None:
        self.items.append(Wire(points, style))


def moved(item: Item, x: float, y: float) -> Item:
    if isinstance(item, Wire):
        return replace(item, points=tuple((px + x, py + y) for px, py in item.points))
    return replace(item, x=item.x + x, y=item.y + y)
