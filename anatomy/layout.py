"""Where everything in the drawing of a network stands: to scale, from left to right.

A map is a slab, its resolution the height, its channels the width; a vector is an upright bar, its units the height.
Branches run in lanes, shortcuts over them. Where a network would need more than COLUMNS columns, equal neighbours are
drawn once, "x n".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from anatomy.geometry import WIDTH, Band, Drawing, Joint, Piece, Repeat, Slab, Wire
from anatomy.placing import FAN, GAP, LANE, Scale
from anatomy.structure import WORDS, Fork, Series, Tangle, arrange
from anatomy.table import Anatomy, Block, Row
from anatomy.trace import JOINS, Node

WIDEST = 16.0  # where wires alone would fill most of WIDTH
TALLEST, HIGHEST = 2.1, 0.25  # height of the image, and of everything as a share of the width
WIDEST_CHANNEL = 0.12
IMAGE, ROW = 0.48, 0.62  # least width of the image and of a stage, for their captions
MARGIN, LABEL = 0.07, 0.16  # of a frame; of the text under it
COLUMNS = 55
SHOWN = 3  # layers of a folded dense block


@dataclass(frozen=True)
class Group:
    """Equal blocks, of which the first `shown` are drawn."""

    row: int
    run: tuple[Block, ...]
    shown: int = 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.run[: self.shown]


def signature(block: Block) -> tuple:
    """What equal blocks share; a concatenation grows, so its channels do not count."""
    facts = [
        (n.kind, n.kernel, n.stride, n.groups, n.side, None if n.kind == "concat" else n.channels, len(n.inputs) > 1)
        for n in block.nodes
        if not (n.kind == "concat" and n is block.nodes[0])  # the first layer of a dense block has nothing to join
    ]
    return (block.kind, *facts)


def is_dense(run: Sequence[Block]) -> bool:
    """Whether blocks read the outputs of several before them and join them, as in DenseNet."""
    return len(run) > 2 and all(block.nodes[0].kind == "concat" for block in run[1:])


def fold(anatomy: Anatomy) -> list[Group]:
    """The blocks in order; runs of equal ones folded if there are too many columns."""
    rows = [(i, block) for i, row in enumerate(anatomy.rows) for block in row.blocks]
    columns = sum(count_columns(block) for _, block in rows)
    if columns <= COLUMNS:
        return [Group(i, (block,)) for i, block in rows]
    groups = []
    for (row, _), members in groupby(rows, key=lambda pair: (pair[0], signature(pair[1]))):
        run = tuple(block for _, block in members)
        groups.append(Group(row, run, min(SHOWN, len(run)) if is_dense(run) else 1))
    return groups


def count_columns(block: Block) -> int:
    """Slabs one beside the other."""
    return columns_of(arrange(block.nodes))


def columns_of(series: Series) -> int:
    total = 0
    for item in series:
        if isinstance(item, Fork):
            total += max(columns_of(branch) for branch in item.branches)
        elif isinstance(item, Tangle):
            level: dict[int, int] = {}
            for node in item.nodes:
                level[node.index] = max((level[i] for i in node.inputs if i in level), default=0) + 1
            total += max(level.values())
        else:
            total += item.kind not in JOINS
    return total


def lay_out(anatomy: Anatomy) -> Drawing:
    """The drawing of a network, WIDTH inches wide, or more if it has many columns."""
    groups = fold(anatomy)
    drawn = [node for group in groups for block in group.blocks for node in block.nodes if node.kind not in JOINS]
    image = anatomy.nodes[0]
    units = max((node.channels for node in drawn if node.side == (1, 1)), default=1000)
    tallest = max(node.side[0] for node in [image, *drawn])
    scale = Scale(TALLEST / tallest, 0.0, 0.8 * TALLEST / max(units, 1000))
    sketch = assemble(anatomy, groups, scale)
    thin, tall = sketch.width, sketch.up + sketch.down
    if tall > HIGHEST * WIDTH:
        lower = max(HIGHEST * max(WIDTH, thin) / tall, 0.2)
        scale = replace(scale, pixel=scale.pixel * min(lower, 1.0), unit=scale.unit * min(lower, 1.0))
    width = min(max(WIDTH, thin / 0.8), max(WIDEST, 1.05 * thin))
    scale = replace(scale, zoom=width / WIDTH)
    width = max(width, 1.05 * assemble(anatomy, groups, scale).width)
    return fit(anatomy, groups, scale, width)


def fit(anatomy: Anatomy, groups: Sequence[Group], scale: Scale, width: float) -> Drawing:
    """The widest scale of channels that fits, by Newton's method: the width is a convex function of it."""
    channel = WIDEST_CHANNEL
    while True:
        drawing = assemble(anatomy, groups, replace(scale, channel=channel))
        excess = drawing.width - width
        if excess < 1e-6:
            return drawing
        near = assemble(anatomy, groups, replace(scale, channel=0.999 * channel)).width
        channel -= excess / (drawing.width - near) * 0.001 * channel


def assemble(anatomy: Anatomy, groups: Sequence[Group], scale: Scale) -> Drawing:
    image = scale.node(anatomy.nodes[0], -1)
    canvas = Piece(width=max(image.width, IMAGE * scale.zoom))
    canvas.put(image, (canvas.width - image.width) / 2)
    canvas.wire(((canvas.width + image.width) / 2, 0), (canvas.width, 0))
    bands, before = [Band(-1, "image", size_of(anatomy.nodes[0]), "", 0.0, canvas.width)], anatomy.nodes[0].index
    for row, members in groupby(groups, key=lambda group: group.row):
        stage = Piece()
        for group in members:
            before = add_group(stage, group, scale, before)
        start = canvas.width + GAP
        slack = max(ROW * scale.zoom - stage.width - GAP, 0.0) / 2
        canvas.wire((canvas.width, 0), (start + slack, 0))
        canvas.put(stage, start + slack)
        canvas.wire((start + slack + stage.width, 0), (start + stage.width + 2 * slack + GAP, 0))
        canvas.width = start + stage.width + 2 * slack + GAP
        facts = anatomy.rows[row]
        bands.append(Band(row, facts.name, size_of(facts), content(facts), start, canvas.width - start))
    add_far_wires(canvas, groups)
    items = canvas.items[:-1] if isinstance(canvas.items[-1], Wire) else canvas.items  # nothing follows the head
    return Drawing(
        [item for item in items if isinstance(item, Slab)],
        [item for item in items if isinstance(item, Joint)],
        [item for item in items if isinstance(item, Wire)],
        [item for item in items if isinstance(item, Repeat)],
        bands, canvas.width, canvas.up, canvas.down, scale.pixel, scale.channel, scale.unit,
    )  # fmt: skip


def size_of(item: Row | Node) -> str:
    """The caption of an output: "56x56, x 256", or the units of a vector."""
    if item.side == (1, 1):
        return f"{item.channels}"
    return f"{item.side[0]}x{item.side[1]}\nx {item.channels}"


def content(row: Row) -> str:
    """The blocks of a stage: "3 x bottleneck"."""
    kinds = [block.kind for block in row.blocks if sum(node.weighted for node in block.nodes) > 1]
    counted = [f"{kinds.count(kind)} x {WORDS.get(kind, kind)}" for kind in dict.fromkeys(kinds)]
    return ", ".join(counted) if row.name != "stem" else ""


def add_group(stage: Piece, group: Group, scale: Scale, before: int) -> int:
    """Draw a group after what the stage holds; returns the index of the node that ends it."""
    run = Piece()
    for block in group.blocks:
        own = {node.index for node in block.nodes}
        run.put(scale.series(arrange(block.nodes), group.row, frozenset(own | {before})), run.width)
        before = block.nodes[-1].index
    before = group.run[-1].nodes[-1].index
    if len(group.run) > 1:
        left = stage.width + GAP
        stage.wire((stage.width, 0), (left, 0))
        stage.put(run, left)
        middle, height = (run.up - run.down) / 2, run.up + run.down + 2 * MARGIN
        stage.items.append(Repeat(left, middle, run.width + GAP, height, len(group.run), group.shown))
        stage.wire((left + run.width, 0), (left + run.width + 2 * GAP, 0))
        stage.width = left + run.width + 2 * GAP
        stage.up, stage.down = max(stage.up, run.up + MARGIN), max(stage.down, run.down + MARGIN + LABEL * scale.zoom)
    else:
        stage.put(run, stage.width)
    return before


def add_far_wires(canvas: Piece, groups: Sequence[Group]) -> None:
    """Connections that pass over whole blocks: of DenseNet as arcs, of NASNet's h_i-1 at right angles."""
    at = {item.node.index: item for item in canvas.items if isinstance(item, Slab | Joint)}
    near = next(item.node.index for item in canvas.items if isinstance(item, Slab))
    for group in groups:
        for block in group.blocks:
            own = {node.index for node in block.nodes} | {near}
            for node in block.nodes:
                for source in node.inputs:
                    if source not in own and source in at and node.index in at:
                        add = add_arc if node.kind == "concat" else add_bridge
                        add(canvas, at[source], at[node.index])
            near = block.nodes[-1].index
        near = group.run[-1].nodes[-1].index
        for block in group.run[group.shown :]:  # the last that is drawn stands for those that are not
            drawn = group.blocks[-1].nodes[-len(block.nodes) :]
            at |= {new.index: at[old.index] for old, new in zip(drawn, block.nodes, strict=False) if old.index in at}


def add_arc(canvas: Piece, start: Slab | Joint, end: Slab | Joint) -> None:
    x0, x1 = start.x + start.width / 2, end.x + end.width / 2
    y0, y1 = start.y + start.height / 2, end.y + end.height / 2
    rise = min(0.12 + 0.22 * (x1 - x0), 0.9)
    canvas.wire((x0, y0), ((x0 + x1) / 2, max(y0, y1) + rise), (x1, y1), style="arc")
    canvas.up = max(canvas.up, max(y0, y1) + 0.75 * rise)


def add_bridge(canvas: Piece, start: Slab | Joint, end: Slab | Joint) -> None:
    x0, x1 = start.x + start.width, end.x
    between = [item for item in canvas.items if isinstance(item, Slab | Joint) and x0 - 0.2 < item.x < x1 + 0.05]
    top = max(item.y + item.height / 2 for item in [start, end, *between]) + LANE
    leave, enter, high = x0 + LANE, x1 - 0.6 * FAN, start.y + start.height / 2 - LANE
    canvas.wire((x0, high), (leave, high), (leave, top), (enter, top), (enter, end.y), (x1, end.y))
    canvas.up = max(canvas.up, top)
