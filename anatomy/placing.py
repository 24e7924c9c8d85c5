"""Place the nodes of a block to scale: one after the other, in lanes where it branches, in columns where it tangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anatomy.geometry import RADIUS, Joint, Piece, Slab
from anatomy.structure import ENTRY, Fork, Series, Tangle, edges, longest
from anatomy.trace import JOINS, Node

MIN_WIDTH, MIN_HEIGHT = 0.035, 0.035  # so that thin layers stay visible
VECTOR = 0.07  # width of a vector's bar
GAP, LANE, FAN = 0.045, 0.05, 0.13  # between slabs, between lanes, before and after branches


@dataclass(frozen=True)
class Scale:
    """Inches a pixel of height, a channel of width, a unit of a vector."""

    pixel: float
    channel: float
    unit: float
    zoom: float = 1.0  # of the room for captions

    def size(self, node: Node) -> tuple[float, float]:
        if node.side == (1, 1):
            return VECTOR, max(node.channels * self.unit, MIN_HEIGHT)
        return max(node.channels * self.channel, MIN_WIDTH), max(node.side[0] * self.pixel, MIN_HEIGHT)

    def node(self, node: Node, row: int, height: float | None = None) -> Piece:
        if node.kind not in JOINS:
            width, tall = self.size(node)
            return Piece([Slab(node, row, 0, 0, width, tall)], width, tall / 2, tall / 2)
        if node.kind == "concat":
            tall = height or self.size(node)[1]
            return Piece([Joint(node, 0, 0, MIN_WIDTH, tall)], MIN_WIDTH, tall / 2, tall / 2)
        return Piece([Joint(node, 0, 0, 2 * RADIUS, 2 * RADIUS)], 2 * RADIUS, RADIUS, RADIUS)

    def series(self, series: Series, row: int, local: frozenset[int]) -> Piece:
        """One after the other. A node that reads nothing of `local` is not wired to what stands before it."""
        piece = Piece()
        for item in series:
            if isinstance(item, Fork):
                piece.put(self.fork(item, row, local), piece.width)
            elif isinstance(item, Tangle):
                piece.put(self.tangle(item, row, local), piece.width)
            elif item.kind == "gate" and piece.items and isinstance(piece.items[-1], Slab):
                slab = piece.items[-1]  # the gate sits on the map that it scales
                badge = Joint(item, slab.x + slab.width / 2 - RADIUS, slab.y + slab.height / 2, 2 * RADIUS, 2 * RADIUS)
                piece.items.append(badge)
                piece.up = max(piece.up, badge.y + RADIUS)
            else:
                start = piece.width
                if not item.inputs or local.intersection(item.inputs):
                    piece.wire((start, 0), (start + GAP, 0))
                piece.put(self.node(item, row), start + GAP)
        return piece

    def fork(self, item: Fork, row: int, local: frozenset[int]) -> Piece:
        if item.join is not None and item.join.kind == "add":
            return self.residual(item, row, local)
        return self.lanes(item, row, local)

    def residual(self, item: Fork, row: int, local: frozenset[int]) -> Piece:
        """The longest branch on the axis, others in lanes over it, the identity as a wire over all."""
        main = longest(item.branches)
        piece, body = Piece(), self.series(main, row, local)
        start = GAP if item.bare or len(item.branches) > 1 else 0.0
        piece.wire((0, 0), (start, 0))
        piece.put(body, start)
        join = piece.width + GAP
        middle = join + RADIUS
        piece.wire((piece.width, 0), (join, 0))
        for branch in item.branches:
            if branch is not main:
                lane = self.series(branch, row, local)
                y = piece.up + LANE + lane.down
                x = (join - lane.width) / 2
                piece.wire((GAP / 2, 0), (GAP / 2, y), (x, y))
                piece.put(lane, x, y)
                piece.wire((x + lane.width, y), (middle, y), (middle, RADIUS))
        if item.bare:
            y = piece.up + LANE
            piece.wire((GAP / 2, 0), (GAP / 2, y), (middle, y), (middle, RADIUS))
            piece.up = y
        assert item.join is not None
        piece.put(self.node(item.join, row), join)
        return piece

    def lanes(self, item: Fork, row: int, local: frozenset[int]) -> Piece:
        """Branches side by side, the first on top, a bare connection among them as a lane without slabs."""
        bodies = [self.series(branch, row, local) for branch in item.branches] + [Piece()] * item.bare
        span = sum(body.up + body.down for body in bodies) + LANE * (len(bodies) - 1)
        piece, y = Piece(), span / 2
        end = FAN + max(body.width for body in bodies) + FAN / 2
        for body in bodies:
            axis = y - body.up
            piece.wire((0, 0), (FAN - GAP / 2, axis), style="curve")
            piece.wire((FAN - GAP / 2, axis), (FAN, axis))
            piece.put(body, FAN, axis)
            piece.wire((FAN + body.width, axis), (end, axis))
            y = axis - body.down - LANE
        if item.join is not None:
            piece.put(self.node(item.join, row, height=span), end)
        else:
            piece.width = end
        return piece

    def tangle(self, item: Tangle, row: int, local: frozenset[int]) -> Piece:
        """Columns by the longest path, a lane for each chain; what reads several lanes stands between them."""
        nodes = item.nodes
        links = edges(nodes)
        level = levels(nodes, links)
        columns = [[i for i, at in enumerate(level) if at == column] for column in range(max(level) + 1)]
        y = self.heights(nodes, links, row)
        x, left = 0.0, []
        for column in columns:
            bent = [i for i in column for start, end in links if end == i and (start == ENTRY or y[start] != y[i])]
            x += FAN if bent else GAP
            left.append(x)
            x += max(self.node(nodes[i], row).width for i in column)
        piece = Piece(width=x + GAP)
        right = {ENTRY: (0.0, 0.0)}
        for i, node in enumerate(nodes):
            part = self.node(node, row)
            piece.put(part, left[level[i]], y[i])
            right[i] = (left[level[i]] + part.width, y[i])
        for start, end in links:
            known = start != ENTRY or local.intersection(nodes[end].inputs)
            straight = abs(right[start][1] - y[end]) < 1e-6
            if known:
                piece.wire(right[start], (left[level[end]], y[end]), style="line" if straight else "curve")
        if item.join is not None:
            ends = {start for start, _ in links}
            inner = {node.index: i for i, node in enumerate(nodes)}
            read = {inner[i] for i in item.join.inputs if i in inner} | (set(range(len(nodes))) - ends)
            for i in read:
                piece.wire(right[i], (piece.width, y[i]))
            top, bottom = max(piece.up, 0.1), max(piece.down, 0.1)
            bar = self.node(item.join, row, height=top + bottom)
            piece.put(bar, piece.width, (top - bottom) / 2)
        return piece

    def heights(self, nodes: Sequence[Node], links: Sequence[tuple[int, int]], row: int) -> list[float]:
        """The axis of each node of a tangle: its chain's lane, or the mean of those around it."""
        sources = {i: [start for start, end in links if end == i] for i in range(len(nodes))}
        targets = {i: [end for start, end in links if start == i] for i in range(len(nodes))}
        lane: dict[int, int] = {}
        tall: list[float] = []
        for i, node in enumerate(nodes):
            if node.kind in JOINS or is_shared(i, links):
                continue
            before = sources[i][0] if len(sources[i]) == 1 else ENTRY
            if before in lane and len(targets[before]) == 1:
                lane[i] = lane[before]
            else:
                lane[i] = len(tall)
                tall.append(0.0)
            tall[lane[i]] = max(tall[lane[i]], self.size(node)[1])
        span = sum(tall) + LANE * (len(tall) - 1)
        middle, y = [], span / 2
        for height in tall:
            middle.append(y - height / 2)
            y -= height + LANE
        axis = [middle[lane[i]] if i in lane else 0.0 for i in range(len(nodes))]
        for i, node in enumerate(nodes):  # sums: between what they add
            near = [axis[k] for k in sources[i] if k in lane] or [axis[k] for k in sources[i] if k != ENTRY]
            if i not in lane and node.kind in JOINS and near:
                axis[i] = sum(near) / len(near)
        shared = [i for i, node in enumerate(nodes) if i not in lane and node.kind not in JOINS]
        shared.sort(key=lambda i: -sum(axis[k] for k in targets[i]) / len(targets[i]))
        for position, i in enumerate(shared):  # states that many read: apart, over and under the axis
            axis[i] = (len(shared) - 1 - 2 * position) * span / 5 if len(shared) > 1 else 0.0
        return axis


def is_shared(index: int, links: Sequence[tuple[int, int]]) -> bool:
    """Whether a node is a state of its cell: it reads the input only, and several read it."""
    return sum(start == index for start, _ in links) > 1 and all(start == ENTRY for start, end in links if end == index)


def levels(nodes: Sequence[Node], links: Sequence[tuple[int, int]]) -> list[int]:
    """The column of each node: after all that it reads, and after the states, which have the first to themselves."""
    shared = [node.kind not in JOINS and is_shared(i, links) for i, node in enumerate(nodes)]
    level = [int(any(shared) and not own) for own in shared]
    for start, end in links:
        if start != ENTRY:
            level[end] = max(level[end], level[start] + 1)
    return level
