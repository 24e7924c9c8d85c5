"""The table of a dissected network for the screen, and what its columns mean."""

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
    """A row per stage, and the sums below."""

    def percent(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else ""

    def macs(number: int) -> str:
        return f"{number / 1e6:,.1f} M" if anatomy.macs >= 10**7 else f"{number:,}"

    table = Table(
        box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True, header_style="bold", footer_style="bold"
    )
    footers = {
        "stage": "total", "operator": "", "output": "", "layers": str(anatomy.depth),
        "parameters": f"{anatomy.parameters:,}", "%": "100.0", "MACs": macs(anatomy.macs), "% ": "100.0",
        "field": str(anatomy.field),
    }  # fmt: skip
    for name, footer in footers.items():
        left = name in ("stage", "operator")
        table.add_column(name, footer, justify="left" if left else "right", no_wrap=name != "operator")
    depth = 0
    for row in anatomy.rows:
        output, layers = "x".join(map(str, (*row.side, row.channels))), row.depth - depth
        costs = [macs(row.macs), percent(row.macs, anatomy.macs), row.field_text]
        if row.auxiliary:
            output, layers, costs = "", 0, ["", "", ""]
        depth += layers
        table.add_row(
            row.name, Text(row.operator), output, str(layers or ""),
            f"{row.parameters:,}", percent(row.parameters, anatomy.parameters), *costs,
        )  # fmt: skip
    return table
