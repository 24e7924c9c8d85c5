"""NASNet: learning transferable architectures for scalable image recognition (Zoph et al. 2017), arXiv 1707.07012.

A cell is searched on CIFAR-10, then repeated more often and wider on ImageNet: NASNet-A (N @ F) has N normal cells a
stage and F channels in its last map. In the paper: CIFAR-10 error of 6 @ 768 3.41, with cutout 2.65 (Table 1);
ImageNet top-1 accuracy of 6 @ 4032 82.7 (Table 2), of 4 @ 1056 74.0 (Table 3).

A cell is a table, and one class builds any table over the search space: archs/cells.py. What the paper leaves open
is as in the authors' release, TF-slim: widths, padding, drop path, auxiliary head, initial weights.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import ArchitectureError, Channels, Classes, Count, Momentum, Positive, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvNormAct, classifier, drop_path_rates, init_layer, truncated_normal_
from lineage.archs.cells import Cell, CellShared, CellStage, Inputs, ScheduledDropPath, Size, Table
from lineage.archs.network import Network
from lineage.archs.operations import PADDINGS

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


class AuxiliaryHead(nn.Sequential):
    """(B, in, H, W) -> (B, num_classes); a map whose side is not `size` is first pooled to it."""

    def __init__(self, in_channels: int, num_classes: int, size: int, conv: Callable[..., nn.Module]) -> None:
        side = (size - 5) // 3 + 1  # the second convolution sees the whole map: 14 -> 4, 16 -> 4, 21 -> 6
        super().__init__(
            nn.AvgPool2d(5, stride=3),
            conv(in_channels, 128, 1),
            conv(128, 768, side, padding=0),
            nn.Flatten(1),
            classifier(768, num_classes),
        )
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != self.size or x.shape[3] != self.size:
            x = F.adaptive_avg_pool2d(x, self.size)
        return super().forward(x)


class NASNet(Network):
    """3x3 stem, stages of normal cells, a reduction cell between two stages, average pooling, linear (Figure 2).

    Args:
        cells: a name in CELLS, or two tables, the normal cell's and the reduction cell's.
        repeats, features: N and F of NASNet-A (N @ F).
        stem: "imagenet" is 3x3/2, of `stem_channels`, and two reduction cells, a quarter and half as wide as the next.
        skip_reduction: the cell after a reduction reads as h_i-1 the reduction's h_i-1, not its h_i.
        aux_heads: a second classifier before the last reduction, in training; its loss weighs 0.4.
        aux_size: side of the map there at the paper's resolution.
        padding: "same" is TensorFlow's; "timm" also counts the zeros in its means of stride 2.
        drop_path: of the last cell at the end of training; cell i of n, from 1, has i / n of it. See `set_progress`.
    """

    def __init__(
        self,
        cells: Literal["nasnet_a"] | tuple[Table, Table] = "nasnet_a",
        repeats: Count = 4,
        features: Annotated[int, "x >= 96 and x % 24 == 0"] = 1056,  # 24: four times the states of nasnet_a's output
        num_classes: Classes = 1000,
        in_channels: Channels = 3,
        stem: Stem = "imagenet",
        stem_channels: Count = 32,
        skip_reduction: bool = False,
        aux_heads: bool = False,
        aux_size: Annotated[int, "x >= 5"] = 14,
        padding: Literal["same", "timm"] = "same",
        drop_path: Rate = 0.0,
        dropout: Rate = 0.0,
        norm_eps: Positive = 1e-3,
        norm_momentum: Momentum = 0.1,
    ) -> None:
        super().__init__()
        normal, reduction = CELLS[cells] if isinstance(cells, str) else cells
        norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
        parts = CellShared(norm, PADDINGS[padding])
        conv = partial(ConvNormAct, eps=norm_eps, momentum=norm_momentum)
        if stem == "imagenet":
            self.stem = conv(in_channels, stem_channels, 3, stride=2, padding=0, act=None)
            self.min_size = 19  # the last factorized reduction needs two pixels: 19 -> 9 -> 5 -> 3 -> 2 -> 1
        else:
            self.stem = conv(in_channels, stem_channels, 3, act=None)
            self.min_size = 3  # 3 -> 2 -> 1
        sizes = plan(repeats, features, len(normal.concat), stem)
        rates = iter(drop_path_rates(drop_path, sum(map(len, sizes)) + 1)[1:])
        self.stages = nn.Sequential()
        inputs = Inputs(stem_channels, stem_channels, 0)
        for index, row in enumerate(sizes):
            skip = skip_reduction and index >= len(sizes) - 2  # not the reductions of the stem
            stage = CellStage(skip=skip)
            for size in row:
                table = reduction if size.stride == 2 else normal
                stage.append(Cell(table, inputs, size, parts, next(rates)))
                read_next = inputs.previous_channels if skip and len(stage) == 1 else inputs.channels
                inputs = Inputs(size.width * len(table.concat), read_next, size.stride)
            self.stages.append(stage)
        self.last = nn.Identity()
        self.head = ClassifierHead(features, num_classes, dropout)
        self.aux_heads = nn.ModuleList()
        if aux_heads:
            self.aux_heads.append(AuxiliaryHead(features // 2, num_classes, aux_size, conv))
            self.aux_weights, self.classifiers = (0.4,), ("head.linear", "aux_heads.0.4")
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Truncated normal of variance 2 / fan_out, linear layers too; a depthwise filter's fan-out is k * k."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_out = module.weight.numel() // module.weight.shape[1] // getattr(module, "groups", 1)
            std = math.sqrt(1.3 * 2 / fan_out)  # 1.3 makes up for the variance that the cut at two deviations removes
            init_layer(module, partial(truncated_normal_, std=std))

    def set_progress(self, share: float) -> None:
        """Set drop path to this share of its final rates. Where it is never called they hold throughout."""
        for module in self.modules():
            if isinstance(module, ScheduledDropPath):
                module.keep.fill_(1.0 - module.rate * share)

    def forward_intermediates(self, images: Tensor) -> list[Tensor]:
        stem = self.stem(images)
        current, previous = F.relu(stem), stem
        maps = []
        for stage in self.stages:
            current, previous = stage(current, previous)
            maps.append(current)
        return maps

    def forward_features(self, images: Tensor) -> Tensor:
        return self.forward_intermediates(images)[-1]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        *_, before, features = self.forward_intermediates(images)
        logits = self.head(features)
        if self.training and self.aux_weights:
            return logits, [head(before) for head in self.aux_heads]
        return logits


def plan(repeats: int, features: int, states: int, stem: str) -> list[list[Size]]:
    """The cells of each stage, a reduction first; `states` is how many a normal cell concatenates."""
    unit = 4 * states
    width = features // unit  # 1056 / (4 x 6 states) = 44
    if width < 4 or features % unit:
        raise ArchitectureError(f"arch.features={features}: it is a multiple of {unit}, from {4 * unit} on.")
    first, second, third = ([Size(width * 2**i, 1)] * repeats for i in range(3))
    later = [[Size(2 * width, 2), *second], [Size(4 * width, 2), *third]]
    return [first, *later] if stem == "cifar" else [[Size(width // 4, 2)], [Size(width // 2, 2), *first], *later]


# Tables 3, 2 and 1: `NASNet(**VARIANTS["nasnet_a_large"])`.
VARIANTS: dict[str, dict[str, Any]] = {
    "nasnet_a_mobile": {"repeats": 4, "features": 1056},
    "nasnet_a_large": {"repeats": 6, "features": 4032, "stem_channels": 96, "skip_reduction": True, "aux_size": 21},
    "nasnet_a_cifar": {
        "repeats": 6, "features": 768, "num_classes": 10, "stem": "cifar", "stem_channels": 96, "aux_size": 16,
        "norm_eps": 1e-5,
    },
}  # fmt: skip
