"""The table of a dissected network for the screen, and what its columns mean."""

import textwrap

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
    """The lines of a table: a row per stage, and the sums. Operators stand in a column of their own, or, if that would
    make it wider than `width` columns, below the numbers of their stage. A narrow table leaves out the inputs of
    stages, which are the outputs of those before."""
    rows = _numbers(anatomy)
    operators = [[], *(row.operator.splitlines() for row in anatomy.rows), []]
    column = max(len(line) for lines in operators for line in lines) + 2
    beside, widths = _fits(rows, column, width)
    if not beside:
        rows = [[row[0], *row[2:]] for row in rows]
        beside, widths = _fits(rows, column, width)
    found = []
    for place, (row, lines) in enumerate(zip(rows, operators, strict=True)):
        if not beside:
            lines = [part for line in lines for part in textwrap.wrap(line, width - 4, subsequent_indent="  ")]
        first = (["operator"] if place == 0 else lines)[:1] if beside else []
        numbers = "  ".join(cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True))
        middle = "".join(first).ljust(column) if beside else ""
        style = "bold" if place in (0, len(rows) - 1) else ""
        found.append(Text(f"{row[0]:{widths[0]}}  {middle}{numbers}", style))
        found += [Text(" " * (widths[0] + 2 if beside else 4) + line) for line in lines[len(first) :]]
    rule = Text("─" * max(map(len, found)), "dim")
    return [found[0], rule, *found[1:-1], rule, found[-1]]


def _fits(rows: list[list[str]], column: int, width: int) -> tuple[bool, list[int]]:
    """Whether rows and a further column fit into a width; and the width of each of their own columns."""
    widths = [max(map(len, each)) for each in zip(*rows, strict=True)]
    return sum(widths) + 2 * len(widths) + column <= width, widths


def _numbers(anatomy: Anatomy) -> list[list[str]]:
    """The cells of all columns but the operators: a head, a row per stage, and the sums."""

    def percent(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else ""

    def macs(number: int) -> str:
        return f"{number / 1e6:,.1f} M" if anatomy.macs >= 10**7 else f"{number:,}"

    rows, depth = [HEAD], 0
    for row in anatomy.rows:
        side, output = "x".join(map(str, row.input)), "x".join(map(str, (*row.side, row.channels)))
        layers = row.depth - depth
        costs = [macs(row.macs), percent(row.macs, anatomy.macs), row.field_text]
        if row.auxiliary:
            side, output, layers, costs = "", "", 0, ["", "", ""]
        depth += layers
        shares = [f"{row.parameters:,}", percent(row.parameters, anatomy.parameters)]
        rows.append([row.name, side, output, str(row.repeats or ""), str(layers or ""), *shares, *costs])
    sums = [f"{anatomy.parameters:,}", "100.0", macs(anatomy.macs), "100.0", str(anatomy.field)]
    return [*rows, ["total", "", "", str(sum(row.repeats for row in anatomy.rows)), str(anatomy.depth), *sums]]
