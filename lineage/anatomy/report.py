"""A dissected network as text for the screen: its table, and what the columns mean."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from lineage.anatomy.table import Anatomy

NOTES = (
    "layers: those with weights on the longest path, which is how the papers count. [...] x n: blocks of such layers, "
    "kernel and channels (dw depthwise, C groups, SE squeeze-and-excitation); bars stand between branches that are "
    "concatenated. MACs: multiply-adds of one image in convolutions and linear layers. field: the receptive field, the "
    "pixels of the image that one of the output depends on, over all paths; gates (SE), which see all, are left out."
)


def tabulate(anatomy: Anatomy) -> Table:
    """The paper-style table: a row a stage, and the sums."""

    def share(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else ""

    def macs(number: int) -> str:
        return f"{number / 1e6:,.1f} M" if anatomy.macs >= 10**7 else f"{number:,}"

    table = Table(
        box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True, header_style="bold", footer_style="bold"
    )
    columns = {  # name: (footer, side)
        "stage": ("total", "left"), "operator": ("", "left"), "output": ("", "right"),
        "layers": (str(anatomy.depth), "right"), "parameters": (f"{anatomy.parameters:,}", "right"),
        "%": ("100.0", "right"), "MACs": (macs(anatomy.macs), "right"), "% ": ("100.0", "right"),
        "field": (str(anatomy.field), "right"),
    }  # fmt: skip
    for name, (footer, justify) in columns.items():
        table.add_column(name, footer, justify=justify, no_wrap=name != "operator")  # type: ignore[arg-type]
    depth = 0
    for row in anatomy.rows:
        output, layers = "x".join(map(str, (*row.side, row.channels))), row.depth - depth
        counts = [macs(row.macs), share(row.macs, anatomy.macs), row.sees]
        if row.auxiliary:
            output, layers, counts = "", 0, ["", "", ""]
        depth += layers
        table.add_row(
            row.name, Text(row.operator), output, str(layers or ""),
            f"{row.parameters:,}", share(row.parameters, anatomy.parameters), *counts,
        )  # fmt: skip
    return table
