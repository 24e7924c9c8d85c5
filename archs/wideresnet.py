"""Wide residual networks (Zagoruyko, Komodakis 2016), arXiv 1605.07146.

Few, wide, pre-activated blocks instead of many thin ones. CIFAR-10 / CIFAR-100 errors in the paper (median of 5 runs):
WRN-16-8 4.27 / 20.43, WRN-28-10 4.00 / 19.25, with dropout 0.3 between the convolutions 3.89 / 18.85.
WRN-50-2-bottleneck (21.9 top-1) and WRN-34-2 (23.39) for ImageNet are ResNets with `base_width=128`: archs/resnet.py.
"""

from functools import partial
from typing import Annotated

from torch import Tensor, nn

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvNormAct, DropPath, HeConv2d, NormAct, drop_path_rates
from lineage.archs.network import Network, stack


class WideBlock(nn.Module):
    """BN-ReLU-3x3, dropout, BN-ReLU-3x3: (B, in, H, W) -> (B, out, H/stride, W/stride).

    Where shapes change, the pre-activated input, not the raw one, feeds the 1x1 projection (models/wide-resnet.lua).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, drop_path: float, dropout: float) -> None:
        super().__init__()
        self.norm1 = NormAct(in_channels)
        self.conv1 = HeConv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = NormAct(out_channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = HeConv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.drop_path = DropPath(drop_path)
        changes = stride != 1 or in_channels != out_channels
        self.project = HeConv2d(in_channels, out_channels, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm1(x)
        shortcut = x if self.project is None else self.project(out)
        out = self.conv2(self.dropout(self.norm2(self.conv1(out))))
        return shortcut + self.drop_path(out)


class WideResNet(Network):
    """3x3 stem, three stages of (depth - 4) / 6 blocks, widths 16k, 32k, 64k, BN-ReLU, average pooling, linear.

    Args:
        depth: number of convolutions, 6n + 4.
        widen_factor: k.
        dropout: probability between the two convolutions of a block (0.3 in the paper's best CIFAR results).
        zero_init_last: start each residual branch at zero: its last convolution, since no BN ends it.
    """

    def __init__(
        self, depth: Annotated[int, "x >= 10 and x % 6 == 4"] = 28, widen_factor: Annotated[int, "1 <= x <= 64"] = 10,
        dropout: Rate = 0.0,
        num_classes: Classes = 10, in_channels: Channels = 3, stem: Stem = "cifar",
        drop_path: Rate = 0.0, zero_init_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if stem == "imagenet":
            pool = nn.MaxPool2d(3, stride=2, padding=1)
            self.stem: nn.Module = nn.Sequential(ConvNormAct(in_channels, 16, 7, stride=2), pool)
            self.min_size = 17  # two pixels in the last map: 17 -> 9 -> 5 -> 3 -> 2
        else:
            self.stem = HeConv2d(in_channels, 16, 3, padding=1, bias=False)
            self.min_size = 5  # 5 -> 3 -> 2

        n = (depth - 4) // 6  # blocks in each stage
        channels = (16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor)
        rates = drop_path_rates(drop_path, 3 * n)
        self.stages = stack([partial(WideBlock, dropout=dropout)] * 3, channels, [n] * 3, (1, 2, 2), rates)
        if zero_init_last:
            for block in self.modules():
                if isinstance(block, WideBlock):
                    nn.init.zeros_(block.conv2.weight)
        self.last = NormAct(channels[-1])
        self.head = ClassifierHead(channels[-1], num_classes)
