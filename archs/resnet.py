"""Deep residual learning for image recognition (He, Zhang, Ren, Sun 2015), arXiv 1512.03385.

A block learns the difference from its input: y = relu(x + f(x)). ImageNet top-1 errors in the paper's Table 3 (ten
crops): ResNet-50 22.85, 101 21.75, 152 21.43; CIFAR-10 errors in Table 6: ResNet-20 8.75, 56 6.97, 110 6.43.

The same class, by its arguments, is the CIFAR ResNet of section 4.2, ResNeXt (arXiv 1611.05431: archs/resnext.py), the
wide networks for ImageNet of arXiv 1605.07146 (`base_width=128`: WRN-50-2-bottleneck, and WRN-34-2, which its authors
define in pretrained/wide-resnet.lua), SE-ResNet (arXiv 1709.01507: `se`), and the plain networks that the paper
compares, whose blocks learn f(x) alone (`shortcut=none`): ImageNet top-1 errors in Table 2, plain-18 27.94 and plain-34
28.54.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from torch import Tensor, nn

from lineage.archs.arguments import (
    ArchitectureError,
    Block,
    Channels,
    Classes,
    Count,
    Multiplier,
    Rate,
    ShortcutOrNone,
    Stem,
    checked,
)
from lineage.archs.blocks import ClassifierHead, ConvNormAct, DropPath, ShortcutA, SqueezeExcite, drop_path_rates
from lineage.archs.network import Network, stack
from lineage.archs.scaling import ALPHA, BETA, GAMMA, Phi, scale_depths, scale_widths, scaling_note


@dataclass(frozen=True)
class Residual:
    """What the blocks of a network share; the arguments of ResNet say what each is."""

    shortcut: ShortcutOrNone
    groups: int
    base_width: int
    stride_in_1x1: bool
    se: bool
    zero_init_last: bool


class ResidualBlock(nn.Module):
    """relu(f(x) + x), f: convolutions, which a subclass makes, and a gate; the shortcut adapts x to another shape.

    In a plain network, relu(f(x)).
    """

    def finish(self, last: ConvNormAct, in_channels: int, stride: int, drop_path: float, shared: Residual) -> None:
        """Add what comes after the convolutions, of which `last` is the last."""
        out_channels = last.conv.out_channels
        self.se = SqueezeExcite(out_channels, out_channels // 16) if shared.se else nn.Identity()
        self.drop_path = DropPath(drop_path)
        if shared.shortcut == "none":
            self.shortcut: nn.Module | None = None
        elif stride == 1 and in_channels == out_channels:
            self.shortcut = nn.Identity()
        elif shared.shortcut == "A":
            self.shortcut = ShortcutA(out_channels, stride)
        else:
            self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride, act=None)
        self.act = nn.ReLU(inplace=True)
        if shared.zero_init_last:
            nn.init.zeros_(last.norm.weight)

    def join(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.act(residual if self.shortcut is None else self.drop_path(residual) + self.shortcut(x))


class Basic(ResidualBlock):
    """Two 3x3 convolutions: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, in_channels: int, out_channels: int, stride: int, drop_path: float, shared: Residual) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, 3, stride)
        self.conv2 = ConvNormAct(out_channels, out_channels, 3, act=None)
        self.finish(self.conv2, in_channels, stride, drop_path, shared)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.se(self.conv2(self.conv1(x))))


class Bottleneck(ResidualBlock):
    """1x1 down, 3x3, 1x1 up to 4 x width: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, out_channels: int, stride: int, drop_path: float, shared: Residual) -> None:
        super().__init__()
        width = out_channels // self.expansion
        inner = width * shared.base_width // 64 * shared.groups  # ResNeXt-50 32x4d, first stage: 64 * 4 / 64 * 32 = 128
        first, second = (stride, 1) if shared.stride_in_1x1 else (1, stride)
        self.conv1 = ConvNormAct(in_channels, inner, 1, first)
        self.conv2 = ConvNormAct(inner, inner, 3, second, groups=shared.groups)
        self.conv3 = ConvNormAct(inner, out_channels, 1, act=None)
        self.finish(self.conv3, in_channels, stride, drop_path, shared)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.se(self.conv3(self.conv2(self.conv1(x)))))


BLOCKS: dict[str, type[Basic | Bottleneck]] = {"basic": Basic, "bottleneck": Bottleneck}


class ResNet(Network):
    """Stem, stages of blocks (stride 2 into each stage but the first), average pooling, linear.

    Args:
        depths, widths: blocks and width of each stage.
        alpha, beta, gamma, phi: compound scaling of depth, width and resolution (arXiv 1905.11946).
        shortcut: "A" (zero padding) or "B" (projection) where shapes change; "none": a plain network.
        groups: cardinality (ResNeXt); 1 in ResNet. Bottlenecks only.
        base_width: 64 in ResNet. Of bottlenecks, the width per group of the 3x3 at 64 channels (ResNeXt, WRN-50-2); the
            output stays as it is. Of basic blocks, that of the whole block: 128 doubles all but the stem (WRN-34-2).
        stride_in_1x1: stride 2 in the first 1x1 as in the paper; false is "v1.5" (torchvision, timm), in the 3x3.
            Bottlenecks only.
        se: Squeeze-and-Excitation at the end of each residual branch.
        zero_init_last: start each residual branch at zero (Goyal et al. 2017, arXiv 1706.02677).
        ceil_pool: pool the stem without padding and round up, as Caffe (SENet's released weights); else pad by 1.
    """

    def __init__(
        self, block: Block, depths: Sequence[Count], widths: Sequence[Count] = (64, 128, 256, 512),
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet",
        shortcut: ShortcutOrNone = "B", groups: Count = 1, base_width: Count = 64, stride_in_1x1: bool = False,
        se: bool = False,
        drop_path: Rate = 0.0, dropout: Rate = 0.0, zero_init_last: bool = False, ceil_pool: bool = False,
        alpha: Multiplier = ALPHA, beta: Multiplier = BETA, gamma: Multiplier = GAMMA, phi: Phi = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.notes = scaling_note(alpha, beta, gamma, phi)
        depths, widths = scale_depths(depths, alpha**phi), scale_widths(widths, beta**phi)
        kind = BLOCKS[block]
        if block == "basic" and (groups != 1 or stride_in_1x1):
            raise ArchitectureError(
                f"arch.groups={groups} arch.stride_in_1x1={str(stride_in_1x1).lower()}: a basic block has no groups "
                "and no 1x1, they need arch.block=bottleneck."
            )
        if shortcut == "none" and (drop_path or zero_init_last):
            wrong = f"drop_path={drop_path:g}" if drop_path else "zero_init_last=true"
            raise ArchitectureError(f"arch.{wrong}: a plain network, arch.shortcut=none, has no residual branches.")
        shared = Residual(shortcut, groups, base_width, stride_in_1x1, se, zero_init_last)
        if stem == "imagenet":
            pool = nn.MaxPool2d(3, stride=2, padding=0 if ceil_pool else 1, ceil_mode=ceil_pool)
            self.stem = nn.Sequential(ConvNormAct(in_channels, widths[0], 7, stride=2), pool)
            self.min_size = 2 ** len(depths) + (3 if ceil_pool else 1)  # one pixel in the last map: 17 to 1
        else:
            self.stem = nn.Sequential(ConvNormAct(in_channels, widths[0], 3))
            self.min_size = 2 ** (len(depths) - 1) + 1  # two pixels in the last map: 5 -> 3 -> 2
        wider = base_width if block == "basic" else 64
        channels = [widths[0], *(width * kind.expansion * wider // 64 for width in widths)]
        strides = [1] + [2] * (len(depths) - 1)
        blocks = [partial(kind, shared=shared)] * len(depths)
        self.stages = stack(blocks, channels, depths, strides, drop_path_rates(drop_path, sum(depths)))
        self.last = nn.Identity()
        self.head = ClassifierHead(channels[-1], num_classes, dropout)


@checked
def resnet_cifar(
    depth: Annotated[int, "x >= 8 and x % 6 == 2"],
    num_classes: Classes = 10, in_channels: Channels = 3, stem: Stem = "cifar", shortcut: ShortcutOrNone = "A",
    se: bool = False, drop_path: Rate = 0.0, dropout: Rate = 0.0, zero_init_last: bool = False,
) -> ResNet:  # fmt: skip
    """The CIFAR ResNet of section 4.2: 6n + 2 layers, three stages of widths 16, 32, 64."""
    return ResNet(
        "basic", [(depth - 2) // 6] * 3, (16, 32, 64), num_classes, in_channels, stem, shortcut, se=se,
        drop_path=drop_path, dropout=dropout, zero_init_last=zero_init_last,
    )  # fmt: skip
