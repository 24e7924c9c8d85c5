"""Where everything in the drawing of a network stands, from left to right, stage by stage.

Where a network would need slabs that are too narrow, equal neighbours are drawn once, in a frame "x n"; captions give
up detail for room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lineage.anatomy import structure
from lineage.anatomy.drawing.captions import Caption, Group, caption, groups_of, sections, size_of
from lineage.anatomy.drawing.page import WIDTH
from lineage.anatomy.drawing.placing import LANE, Frame, Joint, Piece, Scale, Slab, stand_in_two_rows
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import arrange
from lineage.anatomy.table import Anatomy

MARGIN = 24.0
WIDEST, NARROWEST = 16.0, 0.8  # of a slab, times the square root of its channels
MANY = 150  # nodes, which never fit unfolded
FRAME = 6.0  # from what it frames
APART = 10.0  # from caption to caption
NAMES = {  # the papers' names of layers, in order
    "LeNet5": ["C1", "S2", "C3", "S4", "C5", "F6", "output"],
    "AlexNet": ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8"],
}


Parts = Sequence[tuple[Caption, list[Group]]]


@dataclass(frozen=True)
class Band:
    """The ground of a stage."""

    caption: Caption
    x: float
    width: float


@dataclass
class Drawing:
    """All of it around the axis y = 0, from x = 0 to `width`, `up` and `down` its extents."""

    scale: Scale
    canvas: Piece
    bands: list[Band]
    names: dict[int, str]  # of the papers, by node
    labelled: set[int]  # nodes with kernel and channels beside them: their captions do not tell
    notes: list[tuple[str, float, float]] = field(default_factory=list)  # texts that start at a point

    @property
    def slabs(self) -> list[Slab]:
        return [item for item in self.canvas.items if isinstance(item, Slab)]

    @property
    def joints(self) -> list[Joint]:
        return [item for item in self.canvas.items if isinstance(item, Joint)]

    @property
    def placed(self) -> list[Slab | Joint]:
        return [item for item in self.canvas.items if isinstance(item, Slab | Joint)]

    @property
    def frames(self) -> list[Frame]:
        return [item for item in self.canvas.items if isinstance(item, Frame)]

    def at(self) -> dict[int, Slab | Joint]:
        return {item.node.index: item for item in self.placed}


def lay_out(anatomy: Anatomy, height: Callable[[int], float]) -> Drawing:
    """The drawing of a network; `height` tells how high it may be over so many lines of captions."""
    plain = [(False, 0), (False, 1)] if len(anatomy.nodes) < MANY else []
    for folded, level in (*plain, (True, 0), (True, 1), (True, 2), (True, 3)):
        groups = groups_of(anatomy, folded)
        parts = [(caption(name, members, level), members) for name, members in sections(anatomy, groups)]
        room = height(max(part.lines for part, _ in parts))

        def fits(scale: Scale, share: float = 1.0, parts: Parts = parts, room: float = room) -> bool:
            canvas = assemble(anatomy, parts, scale, room).canvas
            return canvas.width <= WIDTH - 2 * MARGIN and canvas.up + canvas.down <= share * room

        channel = largest(lambda x: fits(Scale(0.0, x), 0.9), WIDEST)  # noqa: B023  # heights that are not pixels
        if channel >= NARROWEST * (1 if folded else 1.5):
            break
    spread = largest(lambda x: fits(Scale(0.0, channel, x)), 4.0)
    pixel = largest(lambda x: fits(Scale(x, channel, spread)), room / anatomy.nodes[0].side[0])
    return assemble(anatomy, parts, Scale(pixel, channel, spread), room)


def largest(fits: Callable[[float], bool], most: float) -> float:
    """The largest number up to `most` that fits, where all below a number that fits do."""
    if fits(most):
        return most
    low, high = 0.0, most
    while high - low > most / 400:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def assemble(anatomy: Anatomy, parts: Parts, scale: Scale, room: float = 0.0) -> Drawing:
    image, gap = anatomy.nodes[0], scale.gap
    first = scale.node(image)
    words = Caption("image", size_of(image, len(parts[0][0].size) > 1))
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
    canvas.items.pop()  # nothing follows the head
    groups = [group for _, members in parts for group in members]
    drawing = Drawing(scale, canvas, bands, names_of(anatomy), set(labelled_of(parts)))
    if has_towers(anatomy):
        canvas.items = list(stand_in_two_rows(canvas.items, scale, 0.5 * room))
        canvas.up = canvas.down = max(canvas.up, *(slab.height / 2 + abs(slab.y) for slab in drawing.slabs))
    at = add_far_wires(drawing, groups)
    add_auxiliary_heads(drawing, anatomy, at)
    return drawing


def has_towers(anatomy: Anatomy) -> bool:
    """Whether it is two rows of layers, as AlexNet of 2012: groups of two, and nothing that joins."""
    groups = {node.groups for node in anatomy.nodes}
    return groups == {1, 2} and all(node.kind not in ("add", "concat", "gate") for node in anatomy.nodes)


def names_of(anatomy: Anatomy) -> dict[int, str]:
    """What the papers call layers and modules, by the node that ends them."""
    layers = [node.index for node in anatomy.nodes[1:] if not node.auxiliary]
    names = NAMES.get(anatomy.network, [])
    found = dict(zip(layers, names, strict=True)) if len(names) == len(layers) else {}
    for block in (block for row in anatomy.rows for block in row.blocks):
        name = block.name.split(".")[-1]
        if len(name) == 2 and name[0].isdigit() and name[1].isalpha() and not block.nodes[-1].auxiliary:  # 3a
            found[block.nodes[-1].index] = name
    return found


def labelled_of(parts: Parts) -> Iterator[int]:
    """Layers in a row; not those of branches, and of blocks only where the caption does not list them."""
    last = parts[-1][1][-1].run[-1]
    for words, groups in parts:
        for block in (block for group in groups for block in group.blocks):
            first = block.nodes[0]
            if (first.kind == "avg" and first.side == (1, 1)) or (first.kind == "linear" and block is last):
                continue  # the caption of the head says it
            if first.kind == "concat" or len(block.nodes) == 1:
                yield first.index
            elif not words.count:
                yield from (node.index for node in way_through(block.drawn))


def way_through(series: structure.Series) -> Iterator[Node]:
    """The layers of a block that branches into sums at most, without its shortcuts."""
    for item in series:
        if isinstance(item, Node):
            yield item
        elif isinstance(item, structure.Fork) and item.join is not None and item.join.kind == "add":
            yield from way_through(structure.longest(item.branches))


def add_group(stage: Piece, group: Group, scale: Scale, before: int) -> int:
    """Draw a group after what the stage holds; returns the index of the node that ends it."""
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
    stage.items.append(Frame(left, top, run.width + gap, height, len(group.run), group.shown))
    stage.wire((left + run.width, 0), (left + run.width + 2 * gap, 0))
    stage.width = left + run.width + 2 * gap
    over, under = (30, 0) if group.shown == 1 else (0, 30)  # for the text
    stage.up, stage.down = max(stage.up, run.up + FRAME + over), max(stage.down, run.down + FRAME + under)
    return before


def add_far_wires(drawing: Drawing, groups: Sequence[Group]) -> dict[int, Slab | Joint]:
    """Connections that pass over whole blocks, of DenseNet and of NASNet's h[i-1], as arcs.

    Returns what stands for each node: of blocks that are not drawn, the last that is.
    """
    at, canvas = drawing.at(), drawing.canvas
    near = min(at)
    for group in groups:
        for block in group.blocks:
            own = {node.index for node in block.nodes} | {near}
            drawn = at[block.nodes[-1].index]
            for node in block.nodes:
                for source in set(node.inputs) - own:
                    if source in at:
                        add_arc(canvas, at[source], at.get(node.index, drawn))
            near = block.nodes[-1].index
        near = group.run[-1].nodes[-1].index
        for block in group.run[group.shown :]:  # the last that is drawn stands for those that are not
            drawn_nodes = group.blocks[-1].nodes[-len(block.nodes) :]
            pairs = zip(drawn_nodes, block.nodes, strict=False)
            at |= {new.index: at[old.index] for old, new in pairs if old.index in at}
    return at


def add_arc(canvas: Piece, start: Slab | Joint, end: Slab | Joint) -> None:
    x0, x1 = start.x + start.width / 2, end.x + end.width / 2
    y0, y1 = start.y - start.height / 2, end.y - end.height / 2
    rise = min(10 + 0.2 * abs(x1 - x0), 60.0)
    canvas.wire((x0, y0), ((x0 + x1) / 2, min(y0, y1) - rise), (x1, y1), style="arc")
    canvas.up = max(canvas.up, -min(y0, y1) + 0.75 * rise)


def add_auxiliary_heads(drawing: Drawing, anatomy: Anatomy, at: dict[int, Slab | Joint]) -> None:
    """Over the stages, each from the layer that it reads; their convolutions and dense layers to the same scale."""
    canvas, scale = drawing.canvas, drawing.scale
    heads: list[list[Node]] = []
    for node in (node for row in anatomy.rows if row.auxiliary for block in row.blocks for node in block.nodes):
        if node.inputs[0] in at:
            heads.append([])
        heads[-1].append(node)
    for nodes in heads:
        source = at[nodes[0].inputs[0]]
        head = scale.series(arrange(nodes), frozenset({node.index for node in nodes} | {source.node.index}))
        x, right = source.x + source.width / 2, source.x + source.width + head.width + 20
        below = [item for item in drawing.placed if item.x < right and item.x + item.width > x - 20]
        y = min(item.y - item.height / 2 for item in below) - 2 * LANE - head.down - 30
        canvas.wire((x, source.y - source.height / 2), (x, y), (x + 12, y))
        canvas.put(replace(head, width=0.0), x + 12, y)
        drawing.notes.append(("auxiliary", x + 12, y - head.up - 10))
        canvas.up = max(canvas.up, head.up - y + 36)
