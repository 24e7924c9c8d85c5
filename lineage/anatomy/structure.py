"""A block's graph as layers in series and in parallel, and in the notation of the papers: "1x1, 3x3 dw, 1x1"."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lineage.anatomy.graph import JOINS, Node
from lineage.archs.genotype import Table

ENTRY = -1  # the input of a block, as an index into its nodes
WIDEST = 44  # characters of a table of Inception modules


@dataclass(frozen=True)
class Fork:
    """Parallel branches and the node that joins them; `bare` if a connection without nodes is one of them."""

    branches: "list[Series]"
    bare: bool
    join: Node | None


Series = list[Node | Fork]


def edges(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """Connections as positions in `nodes`; ENTRY is the source of those from outside."""
    positions = {node.index: i for i, node in enumerate(nodes)}
    return sorted({(positions.get(i, ENTRY), k) for k, node in enumerate(nodes) for i in node.inputs})


def arrange(nodes: Sequence[Node]) -> Series | None:
    """Cut a block at the nodes that every path passes through; what lies between two cuts is in parallel.

    None if it is not made of forks and joins, as NASNet's cell is not.
    """
    links = edges(nodes)
    starts = {start for start, _ in links}
    links += [(i, len(nodes)) for i in range(len(nodes)) if i not in starts]
    passed_by = {k for start, end in links for k in range(start + 1, end)}
    cuts = [k for k in range(len(nodes)) if k not in passed_by]
    series: Series = []
    start = ENTRY
    for cut in [*cuts, len(nodes)]:
        join = nodes[cut] if cut < len(nodes) else None
        bare, parts = (start, cut) in links, components(nodes[start + 1 : cut])
        if len(parts) == 1 and not bare:
            return None
        branches = [branch for part in parts if (branch := arrange(part)) is not None]
        if len(branches) < len(parts):
            return None
        if parts:
            series.append(Fork(branches, bare, join))
        elif join is not None:
            series.append(join)
        start = cut
    return series


def components(nodes: Sequence[Node]) -> list[list[Node]]:
    """The connected components, each in order."""
    group = list(range(len(nodes)))
    for start, end in edges(nodes):
        if start != ENTRY and group[start] != group[end]:
            old, new = group[end], group[start]
            group = [new if g == old else g for g in group]
    return [[node for node, g in zip(nodes, group, strict=True) if g == name] for name in dict.fromkeys(group)]


def longest(branches: Sequence[Series]) -> Series:
    """The branch of the most nodes. Of branches that are added, it is the residual; the others are shortcuts."""
    return max(branches, key=count_nodes)


def count_nodes(item: Series | Node | Fork) -> int:
    if isinstance(item, Node):
        return 1
    if isinstance(item, list):
        return sum(map(count_nodes, item))
    return sum(map(count_nodes, item.branches)) + (item.join is not None)


def as_fork(series: Series | None) -> Fork | None:
    """The fork of a block that is nothing else and concatenates its branches, such as an Inception module."""
    match series:
        case [Fork(join=Node(kind="concat")) as fork]:
            return fork
    return None


# ---- notation

BLOCK_NAMES = {  # the papers' names of blocks, where it is not the name of the class
    "AuxHead": "auxiliary head", "AuxiliaryHead": "auxiliary head", "Basic": "basic block", "Bottleneck": "bottleneck",
    "Branches": "Inception", "Cell": "cells", "DenseLayer": "layers", "DepthwiseSeparable": "separable",
    "InceptionResBlock": "Inception-ResNet", "InvertedResidual": "inverted", "PreActUnit": "pre-activation unit",
    "RadialBasis": "radial basis", "WideBlock": "wide block", "XceptionModule": "Xception",
}  # fmt: skip


def kernel_text(node: Node) -> str:
    return f"{node.kernel[0]}x{node.kernel[1]}"


def label(node: Node, stride: bool = False) -> str:
    """3x3, 5x5 dw, max 3x3; with its stride, 7x7/2."""
    size = kernel_text(node) + (f"/{max(node.stride)}" if stride and max(node.stride) > 1 else "")
    if node.kind == "conv":
        return size + (" dw" if node.depthwise else "")
    if node.kind in ("max", "avg"):
        return "average" if node.field is None else f"{node.kind} {size}"
    return {"concat": "concatenation", "gate": "SE"}.get(node.kind, node.kind)


def with_channels(node: Node, between: str = ", ", stride: bool = False) -> str:
    """1x1, 64; of grouped convolutions 3x3, 128, C=32 (the cardinality, as in ResNeXt's paper)."""
    if not node.has_weights:
        return label(node, stride)
    groups = f", C={node.groups}" if node.groups > 1 and not node.depthwise else ""
    return f"{label(node, stride)}{' ' if node.kind == 'linear' else between}{node.channels}{groups}"


def layer_title(node: Node, owner: str) -> str:
    """A layer outside of blocks: 7x7/2, 64; max pool 3x3/2; avg pool."""
    if node.kind in ("max", "avg"):
        return label(node, stride=True).replace("average", "avg").replace(node.kind, f"{node.kind} pool", 1)
    return BLOCK_NAMES.get(owner, owner) if node.kind == "other" else with_channels(node, stride=True)


def block_title(kind: str, nodes: Sequence[Node], series: Series | None) -> str:
    """A block as the papers' tables print it: [1x1, 64; 3x3, 64; 1x1, 256].

    Of one too entangled for that, its name and its layers without joins and 1x1 convolutions.
    """
    if series is None:
        names = [label(node) for node in nodes if node.kind not in JOINS and node.kernel != (1, 1)]
        return f"{BLOCK_NAMES.get(kind, kind)} {', '.join(most_frequent(names))}"
    fork = as_fork(series)
    if fork is None:
        return f"[{describe(series, with_channels, '; ')}]"
    return f"[{' | '.join(describe_branches(fork, lambda node: with_channels(node, ' ')))}]"


def cell_title(name: str, table: Table) -> str:
    """A searched cell: normal cell (sep 3x3, sep 5x5, identity, avg 3x3)."""
    names = [operation_text(name) for block in table.blocks for name in (block.left_operation, block.right_operation)]
    return f"{name} ({', '.join(most_frequent(names))})"


def operation_text(operation: str) -> str:
    """sep5 -> sep 5x5, conv1x7 -> 1x7-7x1."""
    words = {"identity": "identity", "dil3": "dilated 3x3", "conv1x3": "1x3-3x1", "conv1x7": "1x7-7x1"}
    return words.get(operation) or f"{operation[:-1]} {operation[-1]}x{operation[-1]}"


def most_frequent(names: Sequence[str]) -> list[str]:
    """Each once, the most frequent first."""
    return sorted(dict.fromkeys(names), key=lambda name: (-names.count(name), names.index(name)))


def describe(series: Series, text: Callable[[Node], str] = label, between: str = ", ") -> str:
    """The layers one after the other; bars stand between branches that are concatenated.

    Of branches that are added, only the longest is described: the others are shortcuts.
    """
    parts: list[str] = []
    for item in series:
        if isinstance(item, Node):
            parts += [text(item)] if item.kind not in ("add", "concat") else []
        elif item.join is not None and item.join.kind == "add":
            parts.append(describe(longest(item.branches), text, between))
        else:
            branches = " | ".join(describe_branches(item, text))
            parts.append(branches if len(series) == 1 else f"({branches})")
    return between.join(part for part in parts if part)


def describe_branches(fork: Fork, text: Callable[[Node], str] = label) -> list[str]:
    return [describe(branch, text) for branch in fork.branches] + ["identity"] * (fork.bare and fork.join is not None)


def tabulate(modules: Sequence[tuple[str, Fork]]) -> list[str] | None:
    """Modules as in GoogLeNet's table: a column per branch, a line per module with the channels of its layers.

    None if the modules' branches differ, or a line has more than WIDEST characters.
    """
    heads = {tuple(describe_branches(fork)) for _, fork in modules}
    if len(heads) > 1:
        return None
    rows = [["", *heads.pop()]]
    for name, fork in modules:
        rows.append([name, *describe_branches(fork, lambda node: str(node.channels) if node.has_weights else "")])
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{row[0]:<{sizes[0]}} " + " | ".join(f"{cell:>{size}}" for cell, size in zip(row[1:], sizes[1:], strict=True))
        for row in rows
    ]
    return lines if len(lines[0]) <= WIDEST else None
