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

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.arguments import Channels, Classes, Rate, Stem
from lineage.archs.blocks import ConvAct, classifier
from lineage.archs.branches import Inception, Table

STEMS = {
    "imagenet": [
        "7x7 64 /2",  # (64, 112, 112)
        "max /2 C",  # (64, 56, 56)
        "lrn",
        "1x1 64",
        "3x3 192",  # (192, 56, 56)
        "lrn",
        "max /2 C",  # (192, 28, 28)
    ],
    "cifar": ["3x3 192"],
}


def inception(one: int, reduce3: int, three: int, reduce5: int, five: int, proj: int) -> Table:
    """Figure 2b."""
    return [
        [f"1x1 {one}"],
        [f"1x1 {reduce3}", f"3x3 {three}"],
        [f"1x1 {reduce5}", f"5x5 {five}"],
        ["max", f"1x1 {proj}"],
    ]


# Table 1, grouped by resolution: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
STAGES: list[dict[str, Any]] = [
    {
        "3a": inception(64, 96, 128, 16, 32, 32),  # (256, 28, 28)
        "3b": inception(128, 128, 192, 32, 96, 64),  # (480, 28, 28)
    },
    {
        "pool": "max /2 C",
        "4a": inception(192, 96, 208, 16, 48, 64),  # (512, 14, 14)
        "4b": inception(160, 112, 224, 24, 64, 64),  # (512, 14, 14)
        "4c": inception(128, 128, 256, 24, 64, 64),  # (512, 14, 14)
        "4d": inception(112, 144, 288, 32, 64, 64),  # (528, 14, 14)
        "4e": inception(256, 160, 320, 32, 128, 128),  # (832, 14, 14)
    },
    {
        "pool": "max /2 C",
        "5a": inception(256, 160, 320, 32, 128, 128),  # (832, 7, 7)
        "5b": inception(384, 192, 384, 48, 128, 128),  # (1024, 7, 7)
    },
]
AUXILIARY = {"4a": 512, "4d": 528}  # modules with an auxiliary head, and their channels


class AuxHead(nn.Module):
    """Auxiliary classifier of section 5: (B, C, 14, 14) -> (B, 128, 4, 4) -> (B, 1024) -> (B, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = ConvAct(in_channels, 128, 1)
        self.classifier = nn.Sequential(
            nn.Flatten(1),
            nn.Linear(128 * 4 * 4, 1024), nn.ReLU(inplace=True), nn.Dropout(dropout),
            classifier(1024, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        paper = min(x.shape[2:]) >= 14 and max(x.shape[2:]) <= 16  # 5x5/3 pooling gives 4x4
        x = F.avg_pool2d(x, 5, stride=3) if paper else F.adaptive_avg_pool2d(x, 4)
        return self.classifier(self.conv(x))


class GoogLeNet(Inception):
    """Stem, nine Inception modules in three stages, average pooling, linear.

    Args:
        aux_heads: classifiers on 4a and 4d, in training only; their losses weigh 0.3.
        aux_dropout: in the auxiliary heads (0.7 in the paper).
    """

    def __init__(
        self,
        num_classes: Classes = 1000, in_channels: Channels = 3, stem: Stem = "imagenet", aux_heads: bool = False,
        dropout: Rate = 0.0, aux_dropout: Rate = 0.7,
    ) -> None:  # fmt: skip
        heads = {name: AuxHead(channels, num_classes, aux_dropout) for name, channels in AUXILIARY.items() if aux_heads}
        super().__init__(STEMS[stem], STAGES, ConvAct, num_classes, in_channels, dropout, nn.ModuleDict(heads))
        # The last pooling needs two pixels: 31 -> 16 -> 8 -> 4 -> 2 -> 1, or 4 -> 2 -> 1.
        self.min_size = {"imagenet": 31, "cifar": 4}[stem]
        self.classifiers = ("head.linear", *(f"aux.{name}.classifier.4" for name in heads))
        self.aux_weights = (0.3,) * len(heads)

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
                x = stage.run(module, x)  # type: ignore[operator]  # a Chain
                if name in self.aux:
                    aux_logits.append(self.aux[name](x))
        return self.head(x), aux_logits
