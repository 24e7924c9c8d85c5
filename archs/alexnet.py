"""ImageNet classification with deep convolutional neural networks (Krizhevsky, Sutskever, Hinton 2012), NIPS 25.

Five convolutions and three dense layers, with ReLU for tanh, dropout, overlapping pooling, and two GPUs. Top-1 / top-5
error on the ImageNet validation set in the paper's Table 2 (one network, ten crops): 40.7 / 18.2.

`variant=2012` is that network, 60,965,224 parameters: two towers, which are groups of 2 in the second, fourth and fifth
convolution; response normalisation after the first and the second. The paper writes 224 pixels, but its 55x55 maps need
227. `variant=2014` is the single tower of "One weird trick for parallelizing convolutional neural networks" (Krizhevsky
2014, arXiv 1404.5997) as torchvision has it, whose weights need it, 61,100,840 parameters: 64-192-384-256-256 maps, no
normalisation.
"""

from functools import partial
from typing import Literal

from torch import nn

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ConvAct, classifier, init_layer
from lineage.archs.network import Network, Stage

# Maps of the five convolutions, and the groups that they fall into.
WIDTHS = {"2012": (96, 256, 384, 384, 256), "2014": (64, 192, 384, 256, 256)}
GROUPS = {"2012": (1, 2, 1, 2, 2), "2014": (1, 1, 1, 1, 1)}


def pooling(paper: bool) -> list[nn.Module]:
    """3x3/2, in 2012 after response normalisation: a / (2 + 1e-4 x sum of a^2 over 5 maps)^0.75 (section 3.3)."""
    norm = [nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)] if paper else []  # torch divides alpha by the 5
    return [*norm, nn.MaxPool2d(3, stride=2)]


class AlexNet(Network):
    """Convolutions of 11x11/4, 5x5 and three of 3x3, 3x3/2 pooling after 1, 2 and 5, two dense layers of 4096, linear.

    Args:
        stem: "imagenet" is 11x11/4; "cifar" is 5x5/1, for small images.
        dropout: probability at both dense layers (0.5 in the paper): after each in 2012, before each in 2014.
    """

    classifiers = ("head.8",)

    def __init__(
        self, variant: Literal[2012, 2014] = 2012,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        name = str(variant)
        self.paper = paper = name == "2012"
        maps, groups = WIDTHS[name], GROUPS[name]
        kernel, stride, padding = (11, 4, 0 if paper else 2) if stem == "imagenet" else (5, 1, 2)
        self.min_size = 14 * stride + kernel - 2 * padding  # three poolings, 15 -> 7 -> 3 -> 1

        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, maps[0], kernel, stride, padding),
            nn.ReLU(inplace=True),
            *pooling(paper),
        )  # (B, 96 or 64, 27, 27)
        second, *others = (ConvAct(maps[i - 1], maps[i], 5 if i == 1 else 3, groups=groups[i]) for i in range(1, 5))
        self.stages = Stage(
            nn.Sequential(second, *pooling(paper)),  # (B, 256 or 192, 13, 13)
            nn.Sequential(*others, nn.MaxPool2d(3, stride=2)),  # (B, 256, 6, 6)
        )
        self.last = nn.Identity()
        before, after = ([], [nn.Dropout(dropout)]) if paper else ([nn.Dropout(dropout)], [])
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(6),  # the identity at 227 and 224 pixels
            nn.Flatten(1),
            *before, nn.Linear(maps[4] * 6 * 6, 4096), nn.ReLU(inplace=True), *after,
            *before, nn.Linear(4096, 4096), nn.ReLU(inplace=True), *after,
            classifier(4096, num_classes),
        )  # fmt: skip
        self.apply(self.initialise)
        if paper:  # biases 1 where ReLUs would start dead otherwise: convolutions 2, 4, 5 and the hidden dense layers
            biases = [parameter for name, parameter in self.named_parameters() if name.endswith("bias")]
            for number in (2, 4, 5, 6, 7):
                nn.init.ones_(biases[number - 1])

    def initialise(self, module: nn.Module) -> None:
        """2012 as in section 5: weights of deviation 0.01, biases 0. 2014 as the released weights: torch's own."""
        if self.paper:
            init_layer(module, partial(nn.init.normal_, std=0.01))
