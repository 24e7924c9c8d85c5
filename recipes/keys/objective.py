"""What is minimised, and how the result is tested."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lineage.recipes.keys.values import BelowOne, Share

TestInterpolation = Annotated[str, Literal["", "bilinear", "bicubic", "area"]]
Loss = Annotated[str, Literal["ce", "bce", "rbf"]]
Distillation = Annotated[str, Literal["", "soft", "hard"]]
Views = Annotated[str, Literal["", "flip", "flip_translate", "five", "ten"]]
ClassWeights = Annotated[Any, Literal["none", "balanced"] | list[Annotated[float, "0 <= x <= 1e6"]]]
Sampling = Annotated[str, Literal["uniform", "balanced", "sqrt"]]
ValViews = Annotated[str, Literal["", "flip", "flip_translate"]]


@dataclass(kw_only=True)
class Objective:
    test_crop_ratio: Annotated[float, "0 < x <= 1"]  # short side test_res / ratio, then a central crop of test_res
    test_interpolation: TestInterpolation = ""  # where it is not that of training
    test_views: Views = ""  # logits averaged over the mirrored image, shifts by a pixel, or 5 or 10 crops
    val_views: ValViews = ""  # those of validation during training; the test has test_views
    loss: Loss  # rbf: distances to codes (LeNet-5, 1998, eq. 8 and 9), for a network that returns them
    rbf_competition: Annotated[float, "0 <= x <= 1e6"] = 0.0  # rbf: j of eq. 9, for wrong classes; 0: eq. 8
    loss_sum: bool = False  # sum over a step's images instead of their mean
    class_weights: ClassWeights = "none"  # of an image's loss; balanced: images / (classes x images of its class)
    sampling: Sampling = "uniform"  # balanced: each class as often as another; sqrt: as the root of its images
    focal_gamma: Annotated[float, "0 <= x <= 10"] = 0.0  # ce, bce: (1 - p)^gamma for sure answers (arXiv 1708.02002)
    bce_threshold: BelowOne = 0.0  # bce: targets above it become 1, the others 0; 0: soft
    multi_hot: bool = False  # bce: every mixed class has the full target, 1 - eps + eps / K (RSB's A1)
    distill: Distillation = ""  # targets from the teacher: soft, its probabilities; hard, its top class
    distill_share: Share = 0.0  # of the distillation in the loss; the rest is the loss against the labels
    distill_temperature: Annotated[float, "0 <= x <= 1000"] = 0.0  # soft: of both softmaxes (arXiv 1503.02531)
    mixed_precision: bool  # allowed; used where the device gains from it
    drop_last: bool  # whether an incomplete last batch is dropped, or is a smaller step
