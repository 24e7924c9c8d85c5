"""Identity mappings in deep residual networks (He, Zhang, Ren, Sun 2016), arXiv 1603.05027.

BN and ReLU come before each convolution, so nothing stands on the path from one sum to the next: y = x + f(x).
CIFAR-10 errors in the paper: ResNet-110 6.37, ResNet-164 5.46, ResNet-1001 4.92 (4.62 with batches of 64), Tables 2 to
4; ImageNet top-1 / top-5, Table 5 (one crop of 320): ResNet-152 21.1 / 5.5.

The ImageNet networks are timm's `resnetv2`: no BN and ReLU between the 7x7 convolution and its pooling, since the first
unit brings its own; fb.resnet.torch and pytorchcv have them there (pytorchcv thus counts 128 parameters more). Stride 2
is in the 3x3, as in timm and pytorchcv; the authors' Torch code has it in the first 1x1 (`stride_in_1x1`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from torch import Tensor, nn

from lineage.archs.arguments import ArchitectureError, Block, Channels, Classes, Count, Rate, Shortcut, Stem, checked
from lineage.archs.blocks import ClassifierHead, DropPath, HeConv2d, NormAct, ShortcutA, drop_path_rates
from lineage.archs.network import Network, stack


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    return HeConv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class PreActUnit(nn.Module):
    """BN-ReLU, then a branch of two 3x3 or of 1x1, 3x3, 1x1: (B, in, H, W) -> (B, out, H/stride, W/stride).

    The identity and zero padding (option A) take the raw input, a projection (option B) the activated one; with
    `share_act` the identity and the padding take the activated one too.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, drop_path: float,
        bottleneck: bool, shortcut: Shortcut, stride_in_1x1: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        width = out_channels // 4 if bottleneck else out_channels
        self.act = NormAct(in_channels)
        if bottleneck:
            first, second = (stride, 1) if stride_in_1x1 else (1, stride)
            self.branch = nn.Sequential(
                conv(in_channels, width, 1, first), NormAct(width),
                conv(width, width, 3, second), NormAct(width),
                conv(width, out_channels, 1),
            )  # fmt: skip
        else:
            self.branch = nn.Sequential(conv(in_channels, width, 3, stride), NormAct(width), conv(width, width, 3))
        self.drop_path = DropPath(drop_path)
        self.share_act = False
        if stride == 1 and in_channels == out_channels:
            self.shortcut: nn.Module = nn.Identity()
        elif shortcut == "A":
            self.shortcut = ShortcutA(out_channels, stride)
        else:
            self.shortcut = conv(in_channels, out_channels, 1, stride)
            self.share_act = True

    def forward(self, x: Tensor) -> Tensor:
        active = self.act(x)
        shortcut = self.shortcut(active if self.share_act else x)
        return shortcut + self.drop_path(self.branch(active))


class PreActResNet(Network):
    """Stem without BN, stages of units (stride 2 into each stage but the first), BN-ReLU, average pooling, linear.

    Args:
        depths, widths: units and width of each stage.
        shortcut: "A" (zero padding) or "B" (projection) where shapes change.
        share_first: the first BN-ReLU of the network comes before the paths split, so the first sum adds activated
            maps (appendix of the paper, implementation details); false is timm and pytorchcv. Only basic blocks
            differ: the first bottleneck has a projection.
        stride_in_1x1: stride 2 in the first 1x1 (authors' code) instead of the 3x3 (timm, pytorchcv).
        zero_init_last: start each residual branch at zero: its last convolution, since no BN ends it.
    """

    def __init__(
        self, block: Block, depths: Sequence[Count], widths: Sequence[Count] = (64, 128, 256, 512),
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", shortcut: Shortcut = "B",
        share_first: bool = True, stride_in_1x1: bool = False,
        drop_path: Rate = 0.0, dropout: Rate = 0.0, zero_init_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        bottleneck = block == "bottleneck"
        if stride_in_1x1 and not bottleneck:
            raise ArchitectureError("arch.stride_in_1x1=true: a basic block has none, it needs arch.block=bottleneck.")
        if stem == "imagenet":
            pool = nn.MaxPool2d(3, stride=2, padding=1)
            self.stem: nn.Module = nn.Sequential(conv(in_channels, widths[0], 7, stride=2), pool)
            self.min_size = 2 ** len(depths) + 1  # one pixel in the last map: 17 to 1
        else:
            self.stem = conv(in_channels, widths[0], 3)
            self.min_size = 2 ** (len(depths) - 1) + 1  # two pixels in the last map: 5 -> 3 -> 2
        unit = partial(PreActUnit, bottleneck=bottleneck, shortcut=shortcut, stride_in_1x1=stride_in_1x1)
        channels = [widths[0], *(width * (4 if bottleneck else 1) for width in widths)]
        strides = [1] + [2] * (len(depths) - 1)
        self.stages = stack([unit] * len(depths), channels, depths, strides, drop_path_rates(drop_path, sum(depths)))
        units = [module for module in self.stages.modules() if isinstance(module, PreActUnit)]
        units[0].share_act |= share_first
        self.last = NormAct(channels[-1])  # the extra activation after the last sum
        self.head = ClassifierHead(channels[-1], num_classes, dropout)
        self.apply(self.initialise)
        if zero_init_last:
            for module in units:
                nn.init.zeros_(module.branch[-1].weight)  # type: ignore[arg-type]

    def initialise(self, module: nn.Module) -> None:
        """Over He's normal of the convolutions, as in the authors' Torch code."""
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


@checked
def preact_resnet_cifar(
    depth: Annotated[int, "x >= 8 and (x % 6 == 2 or x % 9 == 2)"],
    block: Literal["paper", "basic", "bottleneck"] = "paper", shortcut: Literal["paper", "A", "B"] = "paper",
    num_classes: Classes = 10, in_channels: Channels = 3, stem: Stem = "cifar",
    share_first: bool = True, stride_in_1x1: bool = False,
    drop_path: Rate = 0.0, dropout: Rate = 0.0, zero_init_last: bool = False,
) -> PreActResNet:  # fmt: skip
    """Three stages of widths 16, 32, 64: 6n + 2 layers of basic blocks or 9n + 2 of bottlenecks.

    "paper" is basic with option A up to 110 layers and bottleneck with option B above (164, 1001).
    """
    kind: Block = ("basic" if depth <= 110 else "bottleneck") if block == "paper" else block
    option: Shortcut = ("A" if kind == "basic" else "B") if shortcut == "paper" else shortcut
    layers = 6 if kind == "basic" else 9
    if depth < layers + 2 or (depth - 2) % layers:
        raise ArchitectureError(
            f"arch.depth={depth}: a pre-activation CIFAR ResNet has 6n + 2 layers with block=basic (20, 56, 110), "
            "9n + 2 with block=bottleneck (164, 1001)."
        )
    return PreActResNet(
        kind, [(depth - 2) // layers] * 3, (16, 32, 64), num_classes, in_channels, stem, option, share_first,
        stride_in_1x1, drop_path, dropout, zero_init_last,
    )  # fmt: skip
