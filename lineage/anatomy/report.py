"""The table of a dissected network for the screen, and what its columns mean."""

import textwrap
from collections.abc import Iterator

from rich.text import Text

from lineage.anatomy.table import Anatomy

NOTES = (
    "input, in a wide terminal: what EfficientNet's table calls the resolution of a stage; blocks: what it calls "
    "layers. layers: those with weights on the longest path, as the other papers count them. [...] x n: blocks of such "
    "layers, kernel and channels (dw depthwise, C groups, SE squeeze-and-excitation); bars stand between branches that "
    "are concatenated. MACs: multiply-adds of one image in convolutions and linear layers. field: the receptive "
    "field, the pixels of the image that one of the output depends on, over all paths; gates (SE), which see all, "
    "are not in it."
)
HEAD = ["stage", "input", "output", "blocks", "layers", "parameters", "%", "MACs", "%", "field"]


def tabulate(anatomy: Anatomy, width: int) -> list[Text]:
    """The lines of a table: a row per stage, its operators below it, and the sums. A table that would be wider than
    `width` columns leaves out the inputs of stages, which are the outputs of those before."""
    rows = [HEAD, *_numbers(anatomy)]
    if sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2 > width:
        rows = [[row[0], *row[2:]] for row in rows]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]) for row in rows]
    found, rule = [Text(lines[0], "bold")], Text("─" * len(lines[0]), "dim")
    for line, row in zip(lines[1:-1], anatomy.rows, strict=True):
        found.append(Text(line))
        for operator in row.operator.splitlines():
            found += map(Text, textwrap.wrap(operator, width, initial_indent=" " * 4, subsequent_indent=" " * 6))
    return [found[0], rule, *found[1:], rule, Text(lines[-1], "bold")]


def _numbers(anatomy: Anatomy) -> Iterator[list[str]]:
    """The cells of a row per stage, and of the sums."""

    def percent(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else ""

    def macs(number: int) -> str:
        return f"{number / 1e6:,.1f} M" if anatomy.macs >= 10**7 else f"{number:,}"

    depth = 0
    for row in anatomy.rows:
        side, output = "x".join(map(str, row.input)), "x".join(map(str, (*row.side, row.channels)))
        layers, costs = row.depth - depth, [macs(row.macs), percent(row.macs, anatomy.macs), row.field_text]
        if row.auxiliary:
            side, output, layers, costs = "", "", 0, ["", "", ""]
        depth += layers
        shares = [f"{row.parameters:,}", percent(row.parameters, anatomy.parameters)]
        yield [row.name, side, output, str(row.repeats or ""), str(layers or ""), *shares, *costs]
    blocks = str(sum(row.repeats for row in anatomy.rows))
    sums = [f"{anatomy.parameters:,}", "100.0", macs(anatomy.macs), "100.0", str(anatomy.field)]
    yield ["total", "", "", blocks, str(anatomy.depth), *sums]
