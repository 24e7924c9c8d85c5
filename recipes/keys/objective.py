"""What is minimised, and how the result is tested."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lineage.recipes.keys.augmentation import Augmentation
from lineage.recipes.keys.regularization import Regularization
from lineage.recipes.keys.values import BelowOne, Share

TestInterpolation = Annotated[str, Literal["", "bilinear", "bicubic", "area"]]
Loss = Annotated[str, Literal["ce", "bce", "rbf"]]
Distillation = Annotated[str, Literal["", "soft", "hard"]]
Views = Annotated[str, Literal["", "flip", "flip_translate", "five", "ten"]]
ClassWeights = Annotated[Any, Literal["none", "balanced"] | list[Annotated[float, "0 <= x <= 1e6"]]]
Sampling = Annotated[str, Literal["uniform", "balanced", "sqrt"]]
ValViews = Annotated[str, Literal["", "flip", "flip_translate"]]


@dataclass(kw_only=True)
class Objective(Augmentation, Regularization):
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

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, by mixup or CutMix."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    def problems(self) -> Iterator[str]:
        for name in ("bce_threshold", "multi_hot"):
            if getattr(self, name) and self.loss != "bce":
                yield f"{name}: it acts on loss bce alone; leave it out."
        if self.bce_threshold and (self.label_smoothing or self.multi_hot):
            yield "bce_threshold: it erases label_smoothing and multi_hot; choose one."
        if self.multi_hot and not self.mixes:
            yield "multi_hot=true: without mixup_alpha or cutmix_alpha no image has two classes."
        if self.loss == "rbf" and (self.label_smoothing or self.mixes):
            yield "loss=rbf: it does not take smoothed or mixed labels."
        if self.loss == "rbf" and (self.class_weights != "none" or self.focal_gamma):
            yield "loss=rbf: it takes neither class_weights nor focal_gamma."
        if self.class_weights == "balanced" and self.sampling == "balanced":
            yield "class_weights=balanced, recipe.sampling=balanced: each makes up for unequal classes; choose one."
        if self.rbf_competition and self.loss != "rbf":
            yield "rbf_competition: it acts on loss rbf alone; set 0."
        if bool(self.distill) != bool(self.distill_share):
            yield "distill, distill_share: both or neither, such as hard and 0.5, or soft, 0.5, distill_temperature=3."
        if (self.distill == "soft") != bool(self.distill_temperature):
            yield "distill_temperature: distill soft needs it, 3 for example; otherwise 0."
        if self.distill and self.loss == "rbf":
            yield "distill: loss rbf has no probabilities; choose ce or bce."
