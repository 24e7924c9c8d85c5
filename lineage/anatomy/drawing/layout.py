"""Where everything in the drawing of a network stands, from left to right, stage by stage.

Equal neighbours are drawn once, in a frame "x n". If slabs would be too narrow, captions get shorter.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lineage.anatomy import structure
from lineage.anatomy.drawing.captions import Caption, Group, caption, group_blocks, sections, size_text
from lineage.anatomy.drawing.page import MARGIN, STYLE, WIDTH
from lineage.anatomy.drawing.placing import LANE, Frame, Piece, Scale, Shape, Wire, in_two_rows, moved
from lineage.anatomy.graph import JOINS, Node
from lineage.anatomy.table import Anatomy

WIDEST, NARROWEST = 16.0, 0.8  # bounds of Scale.channel
FRAME = 6.0  # distance of a frame from its blocks
APART = 10.0  # distance of captions
NAMED = 32.0  # room of a name above a layer, and of its channels below

T = TypeVar("T", Shape, Wire, Frame)
Parts = Sequence[tuple[Caption, list[Group]]]


@dataclass(frozen=True)
class Band:
    """The ground of a stage."""

    caption: Caption
    x: float
    width: float


@dataclass
class Drawing:
    """All of a drawing, from x = 0 on, around the axis y = 0."""

    scale: Scale
    canvas: Piece
    bands: list[Band]
    names: dict[int, str]  # the papers' names, by node
    labelled: set[int]  # nodes beside which kernel and channels stand, since no caption states them
    notes: list[tuple[str, float, float]] = field(default_factory=list)  # texts that start at (x, y)

    def items(self, kind: type[T]) -> list[T]:
        return [item for item in self.canvas.items if isinstance(item, kind)]

    @property
    def shapes(self) -> list[Shape]:
        return self.items(Shape)

    @property
    def slabs(self) -> list[Shape]:
        return [shape for shape in self.shapes if shape.maps]

    def by_node(self) -> dict[int, Shape]:
        return {shape.node.index: shape for shape in self.shapes}

    def move(self, dx: float, dy: float) -> None:
        self.canvas.items = [moved(item, dx, dy) for item in self.canvas.items]
        self.bands = [replace(band, x=band.x + dx) for band in self.bands]
        self.notes = [(text, x + dx, y + dy) for text, x, y in self.notes]


def lay_out(anatomy: Anatomy, height: Callable[[int], float]) -> Drawing:
    """The drawing of a network, as large as fits; `height` is the room above captions of so many lines."""
    found = sections(anatomy, group_blocks(anatomy))
    for level in range(4):
        parts = [(caption(name, members, level), members) for name, members in found]
        room = height(max(part.lines for part, _ in parts))

        def fits(scale: Scale, share: float = 1.0, parts: Parts = parts, room: float = room) -> bool:
            canvas = assemble(anatomy, parts, scale, room).canvas
            return canvas.width <= WIDTH - 2 * MARGIN and canvas.up + canvas.down <= share * room

        channel = largest(lambda x: fits(Scale(0.0, x), 0.9), WIDEST)  # noqa: B023  # 0.9: the rest is for pixels
        if channel >= NARROWEST:
            break
    spread = largest(lambda x: fits(Scale(0.0, channel, x)), 4.0)
    pixel = largest(lambda x: fits(Scale(x, channel, spread)), room / math.sqrt(anatomy.nodes[0].side[0]))
    return assemble(anatomy, parts, Scale(pixel, channel, spread), room)


def largest(fits: Callable[[float], bool], most: float) -> float:
    """The largest number up to `most` that fits, by bisection."""
    if fits(most):
        return most
    low, high = 0.0, most
    while high - low > most / 400:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def assemble(anatomy: Anatomy, parts: Parts, scale: Scale, room: float) -> Drawing:
    image, gap = anatomy.nodes[0], scale.gap
    first = scale.node(image)
    words = Caption("image", size_text(image, len(parts[0][0].size) > 1))
    canvas = Piece(width=max(first.width, words.width) + APART)
    canvas.put(first, (canvas.width - first.width) / 2)
    canvas.wire(((canvas.width + first.width) / 2, 0), (canvas.width, 0))
    bands, before = [Band(words, 0.0, canvas.width)], image.index
    for words, members in parts:
        stage = Piece()
        for group in members:
            before = add_group(stage, group, scale, before)
        start, width = canvas.width, max(stage.width + 2 * gap, words.width + APART)
        middle = start + (width - stage.width) / 2
        canvas.wire((start, 0), (middle, 0))
        canvas.put(stage, middle)
        canvas.wire((middle + stage.width, 0), (start + width, 0))
        canvas.width = start + width
        bands.append(Band(words, start, width))
    canvas.items.pop()  # the wire after the head
    groups = [group for _, members in parts for group in members]
    drawing = Drawing(scale, canvas, bands, paper_names(anatomy), set(labelled_layers(parts)))
    towers = {node.groups for node in anatomy.nodes} == {1, 2} and all(node.kind not in JOINS for node in anatomy.nodes)
    if towers:  # AlexNet of 2012
        canvas.items = in_two_rows(canvas.items, scale, 0.5 * room)
    for shape in drawing.shapes:
        room_of_text = NAMED if shape.node.index in drawing.names else 0.0
        canvas.up = max(canvas.up, shape.height / 2 - shape.y + room_of_text)
        canvas.down = max(canvas.down, shape.height / 2 + shape.y + room_of_text)
    add_auxiliary_heads(drawing, anatomy, add_far_wires(drawing, groups))
    return drawing


def paper_names(anatomy: Anatomy) -> dict[int, str]:
    """The papers' names of layers and modules, by their last node."""
    layers = [node.index for node in anatomy.nodes[1:] if not node.auxiliary]
    names = STYLE["names"].get(anatomy.network, [])
    found = dict(zip(layers, names, strict=True)) if len(names) == len(layers) else {}
    for block in anatomy.blocks:
        name = block.name.split(".")[-1]
        if len(name) == 2 and name[0].isdigit() and name[1].isalpha() and not block.nodes[-1].auxiliary:  # 3a
            found[block.nodes[-1].index] = name
    return found


def labelled_layers(parts: Parts) -> Iterator[int]:
    """Layers outside of branches; those of a block only if its caption does not list them."""
    last = parts[-1][1][-1].run[-1]
    for words, groups in parts:
        for block in (block for group in groups for block in group.blocks):
            first = block.nodes[0]
            if (first.kind == "avg" and first.side == (1, 1)) or (first.kind == "linear" and block is last):
                continue  # the head's caption states its size
            if first.kind == "concat" or len(block.nodes) == 1:
                yield first.index
            elif not words.count:
                yield from (node.index for node in main_path(block.drawn))


def main_path(series: structure.Series) -> Iterator[Node]:
    """The layers of a block without those of shortcuts and concatenated branches."""
    for item in series:
        if isinstance(item, Node):
            yield item
        elif isinstance(item, structure.Fork) and item.join is not None and item.join.kind == "add":
            yield from main_path(structure.longest(item.branches))


def add_group(stage: Piece, group: Group, scale: Scale, before: int) -> int:
    """Add a group at the end of a stage; `before` is the node before it. Returns the node that ends the group."""
    run = Piece()
    for block in group.blocks:
        own = {node.index for node in block.nodes}
        run.put(scale.series(block.drawn, frozenset(own | {before})), run.width)
        before = block.nodes[-1].index
    before, gap = group.run[-1].nodes[-1].index, scale.gap
    if len(group.run) == 1:
        stage.put(run, stage.width)
        return before
    left = stage.width + gap
    stage.wire((stage.width, 0), (left, 0))
    stage.put(run, left)
    top, height = -run.up - FRAME, run.up + run.down + 2 * FRAME
    stage.items.append(Frame(left, top, run.width + gap, height, len(group.run), group.drawn))
    stage.wire((left + run.width, 0), (left + run.width + 2 * gap, 0))
    stage.width = left + run.width + 2 * gap
    over, under = (30, 0) if group.drawn == 1 else (0, 30)  # for the text
    stage.up, stage.down = max(stage.up, run.up + FRAME + over), max(stage.down, run.down + FRAME + under)
    return before


def add_far_wires(drawing: Drawing, groups: Sequence[Group]) -> dict[int, Shape]:
    """Add connections that skip whole blocks, of DenseNet and of NASNet's h[i-1], as arcs.

    Returns the shape of each node; nodes of blocks that are not drawn have that of the last block of their run that is.
    """
    shapes, canvas = drawing.by_node(), drawing.canvas
    before = min(shapes)
    for group in groups:
        for block in group.blocks:
            near = {node.index for node in block.nodes} | {before}
            end = shapes[block.nodes[-1].index]
            for node in block.nodes:
                for source in set(node.inputs) - near:
                    if source in shapes:
                        add_arc(canvas, shapes[source], shapes.get(node.index, end))
            before = block.nodes[-1].index
        before = group.run[-1].nodes[-1].index
        for block in group.run[group.drawn :]:
            drawn = group.blocks[-1].nodes[-len(block.nodes) :]
            pairs = zip(drawn, block.nodes, strict=False)
            shapes |= {new.index: shapes[old.index] for old, new in pairs if old.index in shapes}
    return shapes


def add_arc(canvas: Piece, start: Shape, end: Shape) -> None:
    x0, x1 = start.x + start.width / 2, end.x + end.width / 2
    y0, y1 = start.y - start.height / 2, end.y - end.height / 2
    rise = min(10 + 0.2 * abs(x1 - x0), 60.0)
    canvas.wire((x0, y0), ((x0 + x1) / 2, min(y0, y1) - rise), (x1, y1), style="arc")
    canvas.up = max(canvas.up, -min(y0, y1) + 0.75 * rise)


def add_auxiliary_heads(drawing: Drawing, anatomy: Anatomy, shapes: dict[int, Shape]) -> None:
    """Add auxiliary heads above the stages, to the same scale, each from the layer that it reads."""
    canvas, scale = drawing.canvas, drawing.scale
    heads: list[list[Node]] = []
    for node in (node for row in anatomy.rows if row.auxiliary for block in row.blocks for node in block.nodes):
        if node.inputs[0] in shapes:
            heads.append([])
        heads[-1].append(node)
    for nodes in heads:
        source = shapes[nodes[0].inputs[0]]
        local = frozenset({source.node.index, *(node.index for node in nodes)})
        head = scale.series(structure.arrange(nodes) or [*nodes], local)
        x, right = source.x + source.width / 2, source.x + source.width + head.width + 20
        below = [shape for shape in drawing.shapes if shape.x < right and shape.x + shape.width > x - 20]
        y = min(shape.y - shape.height / 2 for shape in below) - 2 * LANE - head.down - 30
        canvas.wire((x, source.y - source.height / 2), (x, y), (x + 12, y))
        canvas.put(replace(head, width=0.0), x + 12, y)
        drawing.notes.append(("auxiliary", x + 12, y - head.up - 10))
        canvas.up = max(canvas.up, head.up - y + 36)
