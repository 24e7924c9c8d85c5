"""The network of airbench94: 94 % on CIFAR-10 in 2.59 seconds on a GPU (Jordan 2024), arXiv 2404.00498.

A 2x2 convolution whose filters whiten the patches of the training images, computed from them and not trained, then
three groups of two 3x3 convolutions. With recipe=speedrun, the author's later procedure, CIFAR-10 accuracy 94.01 %
(mean of 200 runs) after 8 epochs, 2.9e14 floating point operations. The paper's own procedure (recipe=speedrun_2024
arch.variant=2024) reaches it after 9.9 epochs, 3.6e14 operations; (128, 384, 384) wide and 15 epochs long 95 %.

All as in the author's code: batch normalisation has scales of one, momentum 0.4 and eps 1e-12; convolutions start as
the identity on their first input channels. `variant="muon"` (airbench94_muon.py): the classifier's weights start with a
deviation of 1, and logits are divided by its 256 inputs. `variant=2024` (legacy/airbench94.py): torch's own initial
weights, logits divided by 9, and the bias of the whitening starts at 0.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import Channels, Classes, Count
from lineage.archs.blocks import NoClassifier
from lineage.archs.network import Network, Stage


class WhiteningConv(nn.Conv2d):
    """2x2 filters that make the patches of natural images uncorrelated, each twice, of either sign.

    (B, C, H, W) -> (B, 8C, H - 1, W - 1). `start_from` computes the filters; the bias is trained.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 8 * in_channels, 2)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def start_from(self, images: Tensor, eps: float = 5e-4) -> None:
        """Filters: eigenvectors of the covariance of all patches, divided by sqrt(eigenvalue + eps)."""
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1)  # (B, C, H - 1, W - 1, 2, 2)
        flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.in_channels * 4).float()
        eigenvalues, eigenvectors = torch.linalg.eigh((flat.T @ flat / len(flat)).cpu())
        scaled = eigenvectors.T.flip(0) / torch.sqrt(eigenvalues.flip(0)[:, None] + eps)  # the largest first
        filters = scaled.view(-1, self.in_channels, 2, 2)
        self.weight.copy_(torch.cat((filters, -filters)))


class Group(nn.Sequential):
    """3x3, 2x2 pooling, BN, GELU, 3x3, BN, GELU: (B, in, H, W) -> (B, out, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(out_channels, eps=1e-12, momentum=0.4)
        self.act1 = nn.GELU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels, eps=1e-12, momentum=0.4)
        self.act2 = nn.GELU()


class GlobalMaxPool(nn.Module):
    """(B, C, H, W) -> (B, C). nn.AdaptiveMaxPool2d has no deterministic backward pass on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, [*x.shape[2:]]).flatten(1)


class Scale(nn.Module):
    """Multiply by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Airbench(Network):
    """Whitening, GELU, three groups, max pooling of what is left, linear without bias, 1/256 or 1/9.

    Args:
        widths: of the groups.
        variant: the initial weights and the scale of the logits, as above.
    """

    min_size = 17  # two pixels for the last convolution: 17 -> 16 -> 8 -> 4 -> 2
    images_to_start_from = 5000

    def __init__(
        self, widths: Sequence[Count] = (64, 256, 256),
        num_classes: Classes = 10, in_channels: Channels = 3, variant: Literal["muon", 2024] = "muon",
    ) -> None:  # fmt: skip
        super().__init__()
        self.paper = str(variant) == "2024"
        self.stem = nn.Sequential(WhiteningConv(in_channels), nn.GELU())
        channels = (8 * in_channels, *widths)
        self.stages = nn.Sequential(*(Stage(Group(before, after)) for before, after in pairwise(channels)))
        self.last = nn.Identity()
        self.head = nn.Sequential()
        self.head.add_module("pool", GlobalMaxPool())  # of 3x3 at 32 pixels
        self.head.add_module("linear", self.make_classifier(widths[-1], num_classes))
        self.head.add_module("scale", Scale(1 / 9 if self.paper else 1 / widths[-1]))
        self.apply(self.initialise)

    def make_classifier(self, in_features: int, num_classes: int) -> nn.Module:
        return nn.Linear(in_features, num_classes, bias=False) if num_classes else NoClassifier(in_features)

    def initialise(self, module: nn.Module) -> None:
        """Identity on the first channels, torch's own for the rest; the scales of batch normalisation stay one."""
        if isinstance(module, WhiteningConv):
            if self.paper:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight.data[: module.in_channels])
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.requires_grad_(False)
        elif isinstance(module, nn.Linear) and not self.paper:
            module.weight.data /= module.weight.std()

    def start_from_data(self, images: Tensor) -> None:
        """Compute the whitening from the first normalised training images, (5000, C, H, W)."""
        self.whitening.start_from(images)

    @property
    def whiten_bias(self) -> nn.Parameter:
        return self.whitening.bias

    @property
    def whitening(self) -> Any:
        return self.get_submodule("stem.0")
