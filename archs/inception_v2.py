"""Rethinking the Inception architecture (Szegedy et al. 2015), arXiv 1512.00567: Inception v2, the network of Table 1.

Large filters are factorised: 5x5 into two 3x3 (Figure 5), nxn into 1xn and nx1 (Figure 6), and where maps are small the
last layer of a branch spreads into 1x3 and 3x1 side by side (Figure 7); strided convolutions and pooling halve the grid
together (Figure 10). Top-1 error in Table 3, single crop: 23.4.

No public implementation exists: the paper leaves the widths to a model.txt in its source archive, which is not in
circulation. Chosen here, so that every shape is the one printed:

- Stem, Table 1 literally: "padded" is said of the third 3x3 only, and the sizes then fit, except that the last one
  (35x35x192 to 35x35x288) has to be padded too.
- "3 x Inception" at 35x35x288: three of Figure 5.
- "5 x Inception" at 17x17x768: Figure 10 brings 35x35x288 there, then five of Figure 6 with n = 7. Section 6 reduces
  the grid to 17x17 with 768 filters, "followed by 5 instances of the factorized inception modules", as it reduces to
  8x8x1280 before "two Inception modules". `figure_6_modules=4` counts the reduction among the five, as v3 has it.
- "2 x Inception": Figure 10 brings 17x17x768 to the 8x8x1280 printed, then two of Figure 7 give 8x8x2048.
- Widths inside modules are not printed: they are Inception v3's, which give 288, 768, 1280 and 2048; a fifth module of
  Figure 6 is one more of 160. So are pooling, batch normalisation and initial weights.
- No auxiliary head: the shapes of Table 1 do not say where.

The printed 3.8 billion operations belong to Table 3's variant with a 7x7 stem, which is never drawn. The 42 layers of
section 6 fit neither: the longest path has 54 with five and 49 with four.
"""

from functools import partial
from typing import Literal

from torch import nn

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ConvNormAct, init_layer, truncated_normal_
from lineage.archs.branches import Inception
from lineage.archs.inception_v3 import FIGURE_7, FIGURE_10_TO_8, FIGURE_10_TO_17, MIN_SIZES, figure_6

STEMS = {
    "imagenet": [
        "3x3 32 /2 V",  # (32, 149, 149)
        "3x3 32 V",  # (32, 147, 147)
        "3x3 64",
        "max /2 V",  # (64, 73, 73)
        "3x3 80 V",  # (80, 71, 71)
        "3x3 192 /2 V",  # (192, 35, 35)
        "3x3 288",
    ],
    "cifar": ["3x3 288"],
}

FIGURE_5 = [
    ["1x1 64"],
    ["1x1 48", "3x3 64"],
    ["1x1 64", "3x3 96", "3x3 96"],
    ["avg", "1x1 64"],
]  # 64 + 64 + 96 + 64 = 288

FIGURE_6_WIDTHS = {4: (128, 160, 160, 192), 5: (128, 160, 160, 160, 192)}


class InceptionV2(Inception):
    """Stem, three stages of Inception modules, average pooling, linear.

    Args:
        figure_6_modules: 5, after the reduction to 17x17 (section 6), or 4, where the reduction counts as the first.
    """

    def __init__(
        self,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        figure_6_modules: Literal[4, 5] = 5, dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        stages: list[list] = [
            [FIGURE_5] * 3,  # (288, 35, 35)
            [FIGURE_10_TO_17, *map(figure_6, FIGURE_6_WIDTHS[int(figure_6_modules)])],  # (768, 17, 17)
            [FIGURE_10_TO_8, *[FIGURE_7] * 2],  # (2048, 8, 8)
        ]
        super().__init__(STEMS[stem], stages, partial(ConvNormAct, eps=0.001), num_classes, in_channels, dropout)
        self.min_size = MIN_SIZES[stem]

    def initialise(self, module: nn.Module) -> None:
        init_layer(module, partial(truncated_normal_, std=0.1 if isinstance(module, nn.Conv2d) else 0.01))
