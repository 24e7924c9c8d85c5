"""What is minimised, and how the result is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineage.recipes.keys.augmentation import INTERPOLATIONS
from lineage.recipes.keys.key import RecipeError, key

LOSSES = ("ce", "bce", "rbf")
DISTILLATIONS = ("", "soft", "hard")
VIEWS = ("", "flip", "flip_translate")


@dataclass
class Objective:
    test_crop_ratio: float = key(high=1, above=True)  # short side test_res / ratio, then a central crop of test_res
    test_interpolation: str = key("", choices=("", *INTERPOLATIONS))  # where it is not that of training
    test_views: str = key("", choices=VIEWS)  # logits averaged over the mirrored image, and over shifts by a pixel
    loss: str = key(choices=LOSSES)  # rbf: distances to codes (LeNet-5, 1998, eq. 8 and 9), for a network of such
    rbf_competition: float = key(0.0, high=1e6)  # rbf: j of eq. 9, which pushes wrong classes away; 0: eq. 8
    loss_sum: bool = False  # sum over a step's images instead of their mean
    bce_threshold: float = key(0.0, high=1, below=True)  # bce: targets above it become 1, the others 0; 0: soft
    multi_hot: bool = False  # bce: every mixed class has the full target, 1 - eps + eps / K (RSB's A1)
    distill: str = key("", choices=DISTILLATIONS)  # from the command's teacher: its probabilities, or its first class
    distill_share: float = key(0.0, high=1)  # of the loss; the rest is that against the labels
    distill_temperature: float = key(0.0, high=1000)  # soft: of both softmaxes (arXiv 1503.02531)
    mixed_precision: bool = key()  # allowed; used where the device gains from it
    drop_last: bool = key()  # whether a last part of a batch is dropped, or is a smaller step

    if TYPE_CHECKING:  # of other groups
        label_smoothing: float = 0.0
        mixup_alpha: float = 0.0
        cutmix_alpha: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, by mixup or CutMix."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    def check_objective(self) -> None:
        for name in ("bce_threshold", "multi_hot"):
            if getattr(self, name) and self.loss != "bce":
                raise RecipeError(f"recipe.{name}: it acts on loss bce alone; leave it out.")
        if self.bce_threshold and (self.label_smoothing or self.multi_hot):
            raise RecipeError("recipe.bce_threshold: it erases label_smoothing and multi_hot; choose one.")
        if self.multi_hot and not self.mixes:
            raise RecipeError("recipe.multi_hot=true: without mixup_alpha or cutmix_alpha no image has two classes.")
        if self.loss == "rbf" and (self.label_smoothing or self.mixes):
            raise RecipeError("recipe.loss=rbf: it knows no smoothed or mixed labels.")
        if self.rbf_competition and self.loss != "rbf":
            raise RecipeError("recipe.rbf_competition: it acts on loss rbf alone; set 0.")
        if bool(self.distill) != bool(self.distill_share):
            raise RecipeError(
                "recipe.distill, recipe.distill_share: both or neither, hard and 0.5 for example, or soft, 0.5 and "
                "distill_temperature=3."
            )
        if (self.distill == "soft") != bool(self.distill_temperature):
            raise RecipeError("recipe.distill_temperature: distill soft needs it, 3 for example; otherwise 0.")
        if self.distill and self.loss == "rbf":
            raise RecipeError("recipe.distill: loss rbf has no probabilities; choose ce or bce.")
