"""Rethinking the Inception architecture (Szegedy et al. 2015), arXiv 1512.00567: Inception v2, the network of Table 1.

Large filters are factorised: 5x5 into two 3x3 (Figure 5), nxn into 1xn and nx1 (Figure 6), and where maps are small the
last layer of a branch spreads into 1x3 and 3x1 side by side (Figure 7); strided convolutions and pooling halve the grid
together (Figure 10). Top-1 error in Table 3, single crop: 23.4.

No public implementation exists, and the paper leaves much open. Chosen here, so that every shape is the one printed:

- Stem, Table 1 literally: 3x3/2, 3x3, 3x3 padded, pool, 3x3, 3x3/2, 3x3; "padded" is said of the third only, and the
  sizes then fit, except that the last 3x3 (35x35x192 to 35x35x288) has to be padded too.
- "3 x Inception" at 35x35x288: three of Figure 5.
- "5 x Inception" at 17x17x768: Figure 10 brings 35x35x288 there, then four of Figure 6 with n = 7.
- "2 x Inception": Figure 10 brings 17x17x768 to the 8x8x1280 printed, then two of Figure 7 give 8x8x2048.
- Widths inside modules are not printed: they are Inception v3's, which give 288, 768, 1280 and 2048. In Figure 6 both
  factorised branches keep c = 128, 160, 160, 192 until their last layer. The second Figure 10 puts 1x7 and 7x1 in
  front of its double branch's strided 3x3.
- "Pool" is 3x3 averaging with the padding counted inside modules, maximum in stem and Figure 10, as in v3.
- Batch normalisation (epsilon 0.001) and ReLU after every convolution, which has no bias. No auxiliary head: the shapes
  of Table 1 do not say where.
- Initial weights as in Google's release of v3: normal of deviation 0.1, truncated at two of them.

So it has 24,263,240 parameters and 5.86 billion operations at 299. The printed 3.8 belongs to Table 3's variant with a
7x7 stem, which is never drawn.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from archs.blocks import Chain, Channels, Classes, ClassifierHead, ConvNormAct, Rate, Stem, choose
from archs.inception_v3 import FIGURE_7, FIGURE_10_TO_8, FIGURE_10_TO_17, figure_6

STEMS: dict[str, list] = {
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

STAGES: list[list] = [
    [FIGURE_5] * 3,  # (288, 35, 35)
    [FIGURE_10_TO_17, *map(figure_6, (128, 160, 160, 192))],  # (768, 17, 17)
    [FIGURE_10_TO_8, *[FIGURE_7] * 2],  # (2048, 8, 8)
]


class InceptionV2(nn.Module):
    """Stem, three stages of Inception modules, average pooling, linear.

    Args:
        stem: "imagenet" is Table 1's, to an eighth of the image; "cifar" is one 3x3, for small images.
    """

    def __init__(
        self,
        num_classes: Classes = 1000,
        in_channels: Channels = 3,
        stem: Stem = "imagenet",
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        conv = partial(ConvNormAct, eps=0.001)
        # The last 3x3/2 needs three pixels: 75 -> 37 -> 35 -> 17 -> 15 -> 7 -> 3 -> 1, or 7 -> 3 -> 1.
        self.min_size = {"imagenet": 75, "cifar": 7}[choose("stem", stem, tuple(STEMS))]
        self.stem = Chain(in_channels, STEMS[stem], conv)
        channels = self.stem.out_channels
        self.stages = nn.Sequential()
        for tables in STAGES:
            stage = Chain(channels, tables, conv)
            channels = stage.out_channels
            self.stages.append(stage)
        self.head = ClassifierHead(channels, num_classes, dropout)
        self.init_weights()

    def init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.1, a=-0.2, b=0.2)
        nn.init.trunc_normal_(self.head.linear.weight, std=0.01, a=-0.02, b=0.02)
        nn.init.zeros_(self.head.linear.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.stages(self.stem(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.forward_features(images))
