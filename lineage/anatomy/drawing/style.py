"""Colours by kernel. Light and dark alternate, so they differ in grey too; the hues are Okabe and Ito's, which
colour-blind readers tell apart (jfly.uni-koeln.de/color, 2008)."""

from __future__ import annotations

from lineage.anatomy.drawing.page import INK
from lineage.anatomy.graph import Node
from lineage.anatomy.structure import kernel_text

KERNELS = {  # class: fill, and the ink that is read on it
    "1x1": ("#f7e06e", INK),
    "3x3": ("#0072b2", "#ffffff"),
    "5x5": ("#e8833a", INK),
    "7x7": ("#36203f", "#ffffff"),  # and larger
    "1x3": ("#a6d8f5", INK),  # and 3x1
    "1x7": ("#009e73", INK),  # and 7x1
    "even": ("#b9a0b4", INK),  # 2x2 and 4x4, of patches
    "max": ("#ffffff", INK),
    "avg": ("#dcdcdc", INK),
    "linear": ("#8c8c8c", INK),
    "other": ("#ffffff", INK),
    "image": ("#efefef", INK),
    "concat": ("#444444", "#ffffff"),
}
WORDS = {"max": "max pool", "avg": "average pool", "linear": "linear", "other": "radial basis"}


def colour_class(node: Node) -> str:
    """Its key in KERNELS."""
    if node.kind != "conv":
        return node.kind
    short, long = sorted(node.kernel)
    if short != long:
        return "1x3" if long == 3 else "1x7"
    if long % 2 == 0:
        return "even"
    return f"{min(long, 7)}x{min(long, 7)}"


def entry(node: Node) -> str:
    """What the key calls it: the kernel itself."""
    return kernel_text(node) if node.kind == "conv" else WORDS.get(node.kind, node.kind)
