"""A dissected network as text for the screen: its table, and what the columns mean."""

from __future__ import annotations

from rich import box
from rich.table import Table

from anatomy.table import Anatomy

NOTES = (
    "layers: blocks, or layers outside of a block; depth: layers with weights on the longest path so far. MACs: "
    "multiply-adds of one image in convolutions and linear layers. field: the receptive field, the pixels of the "
    "image that one of the output depends on, over all paths; gates of squeeze-and-excitation (SE), which depend on "
    "the whole image, are left out."
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
        "stage": ("total", "left"), "operator": ("", "left"), "output": ("", "right"), "channels": ("", "right"),
        "layers": (str(sum(row.layers for row in anatomy.rows)), "right"), "depth": (str(anatomy.depth), "right"),
        "parameters": (f"{anatomy.parameters:,}", "right"), "%": ("100.0", "right"),
        "MACs": (macs(anatomy.macs), "right"), "% ": ("100.0", "right"), "field": (str(anatomy.field), "right"),
    }  # fmt: skip
    for name, (footer, justify) in columns.items():
        table.add_column(name, footer, justify=justify, no_wrap=name != "operator")  # type: ignore[arg-type]
    for row in anatomy.rows:
        output = ("x".join(map(str, row.side)), str(row.channels), str(row.layers), str(row.depth))
        runs = row.channels > 0  # auxiliary heads do not, in evaluation
        table.add_row(
            row.name, row.operator.replace("; ", "\n"), *(output if runs else [""] * 4),
            f"{row.parameters:,}", share(row.parameters, anatomy.parameters),
            macs(row.macs), share(row.macs, anatomy.macs), row.sees if runs else "",
        )  # fmt: skip
    return table
