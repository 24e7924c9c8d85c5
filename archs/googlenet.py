"""Going deeper with convolutions (Szegedy et al. 2014), arXiv 1409.4842: GoogLeNet, later called Inception v1.

Each module looks at its input through 1x1, 3x3 and 5x5 filters and a pooling at once; 1x1 "reductions" in front of the
large filters pay for it. ILSVRC 2014 top-5 errors in the paper's Table 3: 10.07 with one network and one crop, 6.67
with seven networks and 144 crops. Table 1: 6.8 M parameters, 1.5 billion operations.

This is the paper's network: 5x5 branches, biases, local response normalisation, no batch normalisation. The one in
torchvision has batch normalisation everywhere and 3x3 in place of 5x5. Table 1 prints 2.7K parameters for the first
convolution, which has 7 * 7 * 3 * 64 = 9,408 weights. What the paper does not say is as in Caffe's replica
(bvlc_googlenet): normalisation with n = 5, alpha = 1e-4, beta = 0.75, pooling that rounds up, initial weights uniform
of variance 1 / fan-in, biases 0.2 (0 in the classifiers).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ClassifierHead, ConvAct, classifier
from lineage.archs.branches import Branches
from lineage.archs.network import Network, Stage

# Table 1, grouped by resolution: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
STAGES = [
    {
        "3a": (64, 96, 128, 16, 32, 32),  # (256, 28, 28)
        "3b": (128, 128, 192, 32, 96, 64),  # (480, 28, 28)
    },
    {
        "4a": (192, 96, 208, 16, 48, 64),  # (512, 14, 14), auxiliary head
        "4b": (160, 112, 224, 24, 64, 64),  # (512, 14, 14)
        "4c": (128, 128, 256, 24, 64, 64),  # (512, 14, 14)
        "4d": (112, 144, 288, 32, 64, 64),  # (528, 14, 14), auxiliary head
        "4e": (256, 160, 320, 32, 128, 128),  # (832, 14, 14)
    },
    {
        "5a": (256, 160, 320, 32, 128, 128),  # (832, 7, 7)
        "5b": (384, 192, 384, 48, 128, 128),  # (1024, 7, 7)
    },
]
AUXILIARY = ("4a", "4d")


def inception(one: int, reduce3: int, three: int, reduce5: int, five: int, proj: int) -> list[list[str]]:
    """Figure 2b."""
    return [
        [f"1x1 {one}"],
        [f"1x1 {reduce3}", f"3x3 {three}"],
        [f"1x1 {reduce5}", f"5x5 {five}"],
        ["max", f"1x1 {proj}"],
    ]


class AuxHead(nn.Module):
    """Auxiliary classifier of section 5: (B, C, 14, 14) -> (B, 128, 4, 4) -> (B, 1024) -> (B, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = ConvAct(in_channels, 128, 1)
        self.classifier = nn.Sequential(
            nn.Flatten(1),
            nn.Linear(128 * 4 * 4, 1024),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            classifier(1024, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        paper = min(x.shape[2:]) >= 14 and max(x.shape[2:]) <= 16  # 5x5/3 pooling gives 4x4
        x = F.avg_pool2d(x, 5, stride=3) if paper else F.adaptive_avg_pool2d(x, 4)
        return self.classifier(self.conv(x))


class GoogLeNet(Network):
    """Stem, nine Inception modules in three stages, average pooling, linear.

    Args:
        stem: "imagenet" is Table 1's, to an eighth of the image; "cifar" is one 3x3, for small images.
        aux_heads: classifiers on 4a and 4d, in training only; their losses weigh 0.3.
        dropout: before the classifier (0.4 in the paper).
        aux_dropout: in the auxiliary heads (0.7 in the paper).
    """

    def __init__(
        self,
        num_classes: Classes = 1000,
        in_channels: Channels = 3,
        stem: Stem = "imagenet",
        aux_heads: bool = False,
        dropout: Rate = 0.0,
        aux_dropout: Rate = 0.7,
    ) -> None:
        super().__init__()
        if stem == "imagenet":
            self.min_size = 31  # the last pooling needs two pixels: 31 -> 16 -> 8 -> 4 -> 2 -> 1
            self.stem = nn.Sequential(
                ConvAct(in_channels, 64, 7, 2),  # (64, 112, 112)
                nn.MaxPool2d(3, stride=2, ceil_mode=True),  # (64, 56, 56)
                nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
                ConvAct(64, 64, 1),
                ConvAct(64, 192, 3),  # (192, 56, 56)
                nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
                nn.MaxPool2d(3, stride=2, ceil_mode=True),  # (192, 28, 28)
            )
        else:
            self.min_size = 4  # 4 -> 2 -> 1
            self.stem = nn.Sequential(ConvAct(in_channels, 192, 3))

        channels = 192
        self.stages, self.aux = nn.Sequential(), nn.ModuleDict()
        for index, rows in enumerate(STAGES):
            stage = Stage()
            if index > 0:
                stage.add_module("pool", nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for name, row in rows.items():
                module = Branches(channels, inception(*row), ConvAct)
                channels = module.out_channels
                stage.add_module(name, module)
                if aux_heads and name in AUXILIARY:
                    self.aux[name] = AuxHead(channels, num_classes, aux_dropout)
            self.stages.append(stage)
        self.last = nn.Identity()
        self.head = ClassifierHead(channels, num_classes, dropout)
        self.classifiers = ("head.linear", *(f"aux.{name}.classifier.4" for name in self.aux))
        self.aux_weights = (0.3,) * len(self.aux)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Caffe's "xavier" filler: uniform in +-sqrt(3 / fan-in)."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
            classifies = isinstance(module, nn.Linear) and module.in_features == 1024
            if module.bias is not None:
                nn.init.constant_(module.bias, 0.0 if classifies else 0.2)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        if not (self.training and self.aux):
            return super().forward(images)
        x, aux_logits = self.stem(images), []
        for stage in self.stages:
            for name, module in stage.named_children():
                x = stage.run(module, x)  # type: ignore[operator]  # a Stage
                if name in self.aux:
                    aux_logits.append(self.aux[name](x))
        return self.head(x), aux_logits
