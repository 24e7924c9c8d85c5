"""Deep residual learning for image recognition (He, Zhang, Ren, Sun 2015), arXiv 1512.03385.

A block learns the difference from its input: y = relu(x + f(x)). ImageNet top-1 errors in's Table 4 (10-crop):
ResNet-50 22.85, 101 21.75, 152 21.43; CIFAR-10 errors in Table 6: ResNet-20 8.75, 56 6.97, 110 6.43.

The same class, by its widths, is the CIFAR ResNet of section 4.2, ResNeXt (arXiv 1611.05431: `groups`, `base_width`),
the wide bottleneck of arXiv 1605.07146 (`base_width=128`), and SE-ResNet (arXiv 1709.01507: `se`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from archs.blocks import (
    ArchitectureError,
    Block,
    Channels,
    Classes,
    ClassifierHead,
    ConvNormAct,
    Count,
    DropPath,
    Rate,
    Shortcut,
    ShortcutA,
    SqueezeExcite,
    Stem,
    choose,
    drop_path_rates,
)


def shortcut(option: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where shapes agree; else zero padding (option A) or a 1x1 projection (option B)."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return ShortcutA(out_channels, stride)
    return ConvNormAct(in_channels, out_channels, 1, stride, act=None)


class Basic(nn.Module):
    """Two 3x3 convolutions: (B, in, H, W) -> (B, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, option: str, groups: int, base_width: int, se: bool,
        drop_path: float, stride_in_1x1: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, width, 3, stride)
        self.conv2 = ConvNormAct(width, width, 3, act=None)
        self.se = SqueezeExcite(width, width // 16) if se else nn.Identity()
        self.drop_path = DropPath(drop_path)
        self.shortcut = shortcut(option, in_channels, width, stride)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.drop_path(self.se(self.conv2(self.conv1(x))))
        return self.act(residual + self.shortcut(x))

    def last_norm(self) -> nn.BatchNorm2d:
        return self.conv2.norm


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to 4 x width: (B, in, H, W) -> (B, 4 width, H/stride, W/stride)."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, option: str, groups: int, base_width: int, se: bool,
        drop_path: float, stride_in_1x1: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = width * base_width // 64 * groups  # ResNeXt-50 32x4d, first stage: 64 * 4 / 64 * 32 = 128
        out_channels = width * self.expansion
        self.conv1 = ConvNormAct(in_channels, inner, 1, stride if stride_in_1x1 else 1)
        self.conv2 = ConvNormAct(inner, inner, 3, 1 if stride_in_1x1 else stride, groups=groups)
        self.conv3 = ConvNormAct(inner, out_channels, 1, act=None)
        self.se = SqueezeExcite(out_channels, out_channels // 16) if se else nn.Identity()
        self.drop_path = DropPath(drop_path)
        self.shortcut = shortcut(option, in_channels, out_channels, stride)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.drop_path(self.se(self.conv3(self.conv2(self.conv1(x)))))
        return self.act(residual + self.shortcut(x))

    def last_norm(self) -> nn.BatchNorm2d:
        return self.conv3.norm


BLOCKS: dict[str, type[Basic] | type[Bottleneck]] = {"basic": Basic, "bottleneck": Bottleneck}


class ResNet(nn.Module):
    """Stem, stages of blocks (stride 2 into each stage but the first), average pooling, linear.

    Args:
        block: "basic" or "bottleneck".
        depths, widths: blocks and width of each stage.
        stem: "imagenet" is 7x7/2 and 3x3/2 pooling; "cifar" is one 3x3.
        shortcut: "A" (zero padding) or "B" (projection) where shapes change.
        groups, base_width: cardinality and width per group at 64 channels (ResNeXt); 1 and 64 in ResNet. They and
            the next are of bottlenecks only.
        stride_in_1x1: stride 2 in the first 1x1 as in the paper; false is "v1.5" (torchvision, timm), in the 3x3.
        se: Squeeze-and-Excitation at the end of each residual branch.
        drop_path: stochastic depth of the last block; linear from 0 at the first.
        zero_init_last: start each residual branch at zero (Goyal et al. 2017, arXiv 1706.02677).
        ceil_pool: pool the stem without padding and round up, as Caffe (SENet's released weights); else pad by 1.
    """

    def __init__(
        self,
        block: Block,
        depths: Sequence[Count],
        widths: Sequence[Count] = (64, 128, 256, 512),
        num_classes: Classes = 1000,
        in_channels: Channels = 3,
        stem: Stem = "imagenet",
        shortcut: Shortcut = "B",
        groups: Count = 1,
        base_width: Count = 64,
        stride_in_1x1: bool = False,
        se: bool = False,
        drop_path: Rate = 0.0,
        dropout: Rate = 0.0,
        zero_init_last: bool = True,
        ceil_pool: bool = False,
    ) -> None:
        super().__init__()
        choose("shortcut", shortcut, ("A", "B"))
        kind = BLOCKS[choose("block", block, tuple(BLOCKS))]
        if block == "basic" and (groups != 1 or base_width != 64 or stride_in_1x1):
            raise ArchitectureError(
                f"arch.groups={groups} arch.base_width={base_width} arch.stride_in_1x1={str(stride_in_1x1).lower()}: "
                "a basic block has no groups and no 1x1, they need arch.block=bottleneck."
            )
        if choose("stem", stem, ("imagenet", "cifar")) == "imagenet":
            pool = nn.MaxPool2d(3, stride=2, padding=0 if ceil_pool else 1, ceil_mode=ceil_pool)
            # One pixel in the last stage only, 17 -> 9 -> 5 -> 3 -> 2 -> 1: of one pixel and two images batch
            # normalisation makes +-1, and through all stages the gradients would overflow.
            # SENet's pooling, 19 -> 10 -> 5, needs two pixels more: of a strided 3x3 on one pixel PyTorch leaves parts
            # of the bf16 weight gradient unset on CPUs (torch 2.11 and 2.14).
            self.min_size = 2 ** len(depths) + (3 if ceil_pool else 1)
            self.stem = nn.Sequential(ConvNormAct(in_channels, widths[0], 7, stride=2), pool)
        else:
            # Two pixels in the last map, 5 -> 3 -> 2: of one pixel and two images, batch normalisation makes +-1, and
            # the gradients of ResNet-1202 overflow.
            self.min_size = 2 ** (len(depths) - 1) + 1
            self.stem = nn.Sequential(ConvNormAct(in_channels, widths[0], 3))

        rates = iter(drop_path_rates(drop_path, sum(depths)))
        stages, channels = [], widths[0]
        for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks = []
            for i in range(depth):
                stride = 2 if i == 0 and index > 0 else 1
                blocks.append(
                    kind(channels, width, stride, shortcut, groups, base_width, se, next(rates), stride_in_1x1)
                )
                channels = width * kind.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = ClassifierHead(channels, num_classes, dropout)

        if zero_init_last:
            for module in self.modules():
                if isinstance(module, Basic | Bottleneck):
                    nn.init.zeros_(module.last_norm().weight)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.stages(self.stem(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.forward_features(images))


def resnet_cifar(depth: Annotated[int, "x >= 8 and x % 6 == 2"], **options) -> ResNet:
    """The CIFAR ResNet of section 4.2: 6n + 2 layers, three stages of widths 16, 32, 64."""
    if depth < 8 or (depth - 2) % 6:
        raise ArchitectureError(f"arch.depth={depth}: a CIFAR ResNet has 6n + 2 layers (20, 32, 44, 56, 110, 1202).")
    return ResNet("basic", [(depth - 2) // 6] * 3, [16, 32, 64], **options)
