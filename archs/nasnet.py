"""NASNet: learning transferable architectures for scalable image recognition (Zoph et al. 2017), arXiv 1707.07012.

A cell is searched on CIFAR-10, then repeated more often and wider on ImageNet: NASNet-A (N @ F) has N normal cells a
stage and F channels in its last map. In the paper: CIFAR-10 error of 6 @ 768 3.41, with cutout 2.65 (Table 1);
ImageNet top-1 accuracy of 6 @ 4032 82.7 (Table 2), of 4 @ 1056 74.0 (Table 3).

A cell is a table, and one class builds any table over the 13 operations of the search space. What the paper leaves open
is as in the authors' release, TF-slim: widths, padding, drop path, auxiliary head, initial weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archs.blocks import ArchitectureError, Classifier, DropPath, choose, drop_path_rates

Norm = Callable[[int], nn.Module]


class Table(NamedTuple):
    """State 0 is h_i, the output of the last cell, 1 is h_i-1, of the one before; row r makes state r + 2, a sum of two.

    `concat` lists the states that are the cell's output: in the paper's words the unused ones, but its networks also
    keep one that is used, h_i-1 in the normal cell and state 3 in the reduction cell.
    """

    rows: Sequence[tuple[int, str, int, str]]  # input, operation, input, operation
    concat: Sequence[int]


NORMAL_A = Table(  # Figure 4
    rows=(
        (0, "sep_5x5", 1, "sep_3x3"),
        (1, "sep_5x5", 1, "sep_3x3"),
        (0, "avg_pool_3x3", 1, "identity"),
        (1, "avg_pool_3x3", 1, "avg_pool_3x3"),
        (0, "sep_3x3", 0, "identity"),
    ),
    concat=(1, 2, 3, 4, 5, 6),
)
REDUCTION_A = Table(
    rows=(
        (0, "sep_5x5", 1, "sep_7x7"),
        (0, "max_pool_3x3", 1, "sep_7x7"),
        (0, "avg_pool_3x3", 1, "sep_5x5"),
        (3, "identity", 2, "avg_pool_3x3"),
        (2, "sep_3x3", 0, "max_pool_3x3"),
    ),
    concat=(3, 4, 5, 6),
)
CELLS = {"nasnet_a": (NORMAL_A, REDUCTION_A)}
PADDINGS = ("same", "timm", "symmetric")


def lead(x: Tensor, stride: Sequence[int], margin: Sequence[int], padding: str) -> list[int]:
    """Zeros before each side; `margin` = k // 2 follow. SAME puts one less before an even side at stride 2."""
    less = [padding != "symmetric" and s == 2 and n % 2 == 0 for n, s in zip(x.shape[2:], stride, strict=True)]
    return [max(m - l, 0) for m, l in zip(margin, less, strict=True)]


class Conv(nn.Conv2d):
    """Convolution without bias: (B, in, H, W) -> (B, out, ceil(H/stride), ceil(W/stride))."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int], padding: str,
        dilation: int = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        margin = (kernel[0] // 2 * dilation, kernel[1] // 2 * dilation)
        super().__init__(in_channels, out_channels, kernel, stride, margin, dilation, groups, bias=False)
        self.mode = padding

    def forward(self, x: Tensor) -> Tensor:
        before = lead(x, self.stride, self.padding, self.mode)
        rows, columns = (after - b for after, b in zip(self.padding, before, strict=True))
        if rows or columns:
            x = F.pad(x, (0, columns, 0, rows))
        return F.conv2d(x, self.weight, None, self.stride, before, self.dilation, self.groups)
