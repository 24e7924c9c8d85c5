"""The schema of every recipe: one column of Table 2 of "ResNet strikes back" (arXiv 2110.00476). Imports no torch.

A field without a default must stand in the YAML. A default only ever means "off".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from user_error import UserError

OPTIMIZERS = ("sgd", "lamb", "adamw", "adam", "nadamw", "rmsproptf", "lars", "lion")  # all but sgd are timm's
SCHEDULES = ("constant", "step", "multistep", "exponential", "linear", "cosine")
LOSSES = ("ce", "bce")
CROPS = ("none", "pad", "rrc", "scale_jitter")
PADDING_MODES = ("none", "zero", "mean", "reflect")
INTERPOLATIONS = ("bilinear", "bicubic")
INTERVALS = ("epoch", "step")

CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "schedule_interval": INTERVALS,
    "loss": LOSSES,
    "crop": CROPS,
    "crop_padding_mode": PADDING_MODES,
    "interpolation": INTERPOLATIONS,
}
FRACTIONS = ("label_smoothing", "dropout", "drop_path", "hflip", "erasing_prob", "ema", "bce_threshold")
NOT_NEGATIVE = [
    "lr",
    "momentum",
    "weight_decay",
    "warmup_epochs",
    "warmup_lr",
    "min_lr",
    "decay_rate",
    "grad_clip",
    "mixup_alpha",
    "cutmix_alpha",
    "repeated_aug",
    "color_jitter",
    "pca_lighting",
    "crop_padding",
    "lamb_clip",
    "beta2",
    "eps",
    "swa",
]
# Beyond these lies no procedure, but a slip of the keyboard that would run for ever or fill the memory.
AT_MOST = {
    "epochs": 1_000_000,
    "batch_size": 10_000_000,
    "train_res": 8192,
    "test_res": 8192,
    "lr": 1e9,
    "momentum": 1,
    "beta2": 1,
    "eps": 1,
    "weight_decay": 1e3,
    "min_lr": 1e9,
    "warmup_lr": 1e9,
    "warmup_epochs": 1_000_000,
    "decay_rate": 1,
    "grad_clip": 1e9,
    "lamb_clip": 1e9,
    "mixup_alpha": 1000,
    "cutmix_alpha": 1000,
    "repeated_aug": 1000,
    "color_jitter": 10,
    "pca_lighting": 10,
    "crop_padding": 4096,
}


class RecipeError(UserError, ValueError):
    """A value that the procedure cannot have; the message is one line for the user."""


@dataclass
class Recipe:
    # Length and resolution. A data set with a native size (digits, MNIST, CIFAR) keeps it; these speak to the others.
    epochs: int = MISSING
    batch_size: int = MISSING  # images that one optimiser step sees, over all devices and micro-batches
    train_res: int = MISSING  # pixels
    test_res: int = MISSING  # pixels

    # Optimiser.
    optimizer: str = MISSING
    lr: float = MISSING  # the peak, for this batch_size
    momentum: float = MISSING  # of SGD and RMSProp; beta1 of Adam and LAMB
    nesterov: bool = False  # SGD only
    beta2: float = 0.0  # of Adam and LAMB; decay of the squared gradient in RMSProp
    eps: float = 0.0  # of Adam, LAMB and RMSProp
    lamb_clip: float = 0.0  # LAMB only: bound on the global gradient norm inside the optimiser (timm: 1.0)
    weight_decay: float = MISSING
    decay_norm_bias: bool = MISSING  # whether weight decay acts on biases and normalisation too

    # Schedule.
    schedule: str = MISSING
    schedule_interval: str = MISSING  # the learning rate changes every "epoch" (timm, the papers) or every "step"
    decay_rate: float = 0.0  # step, multistep, exponential: factor of each decay
    decay_epochs: list[float] = field(default_factory=list)  # multistep: when; step, exponential: one period
    warmup_epochs: float = 0.0  # linear from warmup_lr; counted inside epochs
    warmup_lr: float = 0.0
    min_lr: float = 0.0  # linear, cosine: where they end

    # Regularisation of the network; archs that have no such thing say so at the start of the run.
    label_smoothing: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0  # stochastic depth of the last block
    repeated_aug: int = 0  # times an image is drawn in a row, each with its own augmentation (arXiv 1902.05509)
    grad_clip: float = 0.0  # bound on the global gradient norm

    # Augmentation.
    hflip: float = 0.0  # probability; off where the data set says mirror: false
    crop: str = "none"  # pad: shift within a padded border; rrc: random resized crop; scale_jitter: He et al. 2015
    crop_padding: int = 0  # pad: border in pixels
    crop_padding_mode: str = "none"  # zero: black (torchvision); mean: zero once normalised (the papers); reflect
    crop_scale: list[float] = field(default_factory=list)  # rrc: share of the area; scale_jitter: range of short sides
    crop_ratio: list[float] = field(default_factory=list)  # rrc: range of width / height
    interpolation: str = MISSING  # of every resize, in training and in testing
    rand_augment: str = ""  # timm's notation: rand-m7-mstd0.5-inc1
    auto_augment: str = ""  # timm's notation: original, v0
    color_jitter: float = 0.0  # strength of brightness, contrast and saturation, in random order
    pca_lighting: float = 0.0  # sigma along the principal colours (Krizhevsky et al. 2012)
    erasing_prob: float = 0.0  # random erasing with noise, per image (arXiv 1708.04896)
    mixup_alpha: float = 0.0  # arXiv 1710.09412
    cutmix_alpha: float = 0.0  # arXiv 1905.04899; with mixup, one of the two is drawn at each step

    # Averages of the weights, used for validation and test.
    ema: float = 0.0  # decay per step
    swa: int = 0  # equal average over this many last epochs (arXiv 1803.05407)

    # The rest of the table.
    test_crop_ratio: float = MISSING  # short side test_res / ratio, then a central crop of test_res
    loss: str = MISSING
    bce_threshold: float = 0.0  # bce: targets above it become 1, the others 0; 0 keeps them soft
    mixed_precision: bool = MISSING  # allowed; used where the device gains from it
    drop_last: bool = MISSING  # whether a last part of a batch is dropped, or is a smaller step

    def check(self) -> None:
        """Raise RecipeError for the first value that makes no sense, alone or beside the others."""
        for name, most in AT_MOST.items():
            if not getattr(self, name) <= most:  # NaN too
                raise RecipeError(f"recipe.{name}={getattr(self, name):g}: it is at most {most:,}.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(f"recipe.{name}={getattr(self, name)}: it is one of {', '.join(choices)}.")
        for name in ("epochs", "batch_size", "train_res", "test_res"):
            if getattr(self, name) < 1:
                raise RecipeError(f"recipe.{name}={getattr(self, name)}: it is at least 1.")
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"recipe.{name}={getattr(self, name):g}: it lies between 0 and 1.")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise RecipeError(f"recipe.{name}={getattr(self, name):g}: it is not negative; 0 is off.")
        if not 0 < self.test_crop_ratio <= 1:
            raise RecipeError(f"recipe.test_crop_ratio={self.test_crop_ratio:g}: it lies between 0 and 1.")
        self._check_schedule()
        self._check_crop()
        self._check_what_belongs_together()

    def _check_schedule(self) -> None:
        if self.schedule in ("step", "exponential") and (len(self.decay_epochs) != 1 or self.decay_epochs[0] <= 0):
            raise RecipeError(f"recipe.decay_epochs={self.decay_epochs}: {self.schedule} needs one period, [30].")
        if self.schedule == "multistep" and sorted(self.decay_epochs) != self.decay_epochs:
            raise RecipeError(f"recipe.decay_epochs={self.decay_epochs}: schedule multistep needs them in order.")
        if self.schedule in ("step", "multistep", "exponential") and not self.decay_rate:
            raise RecipeError(f"recipe.decay_rate=0: schedule {self.schedule} needs a factor, 0.1 for example.")
        if self.schedule in ("constant", "linear", "cosine") and (self.decay_epochs or self.decay_rate):
            raise RecipeError(f"recipe.decay_epochs, recipe.decay_rate: schedule {self.schedule} has none; [] and 0.")
        if self.schedule not in ("linear", "cosine") and self.min_lr:
            raise RecipeError(f"recipe.min_lr={self.min_lr:g}: schedule {self.schedule} does not use it; set 0.")
        if self.warmup_lr and not self.warmup_epochs:
            raise RecipeError(f"recipe.warmup_lr={self.warmup_lr:g}: it needs recipe.warmup_epochs.")
        if self.warmup_epochs > self.epochs:
            raise RecipeError(f"recipe.warmup_epochs={self.warmup_epochs:g}: longer than recipe.epochs={self.epochs}.")

    def _check_crop(self) -> None:
        pad = self.crop == "pad"
        if pad != bool(self.crop_padding) or pad != (self.crop_padding_mode != "none"):
            raise RecipeError(
                f"recipe.crop={self.crop}, recipe.crop_padding={self.crop_padding}, "
                f"recipe.crop_padding_mode={self.crop_padding_mode}: pad needs the other two, other crops have neither."
            )
        if (self.crop in ("rrc", "scale_jitter")) != (len(self.crop_scale) == 2):
            raise RecipeError(
                f"recipe.crop={self.crop} with recipe.crop_scale={self.crop_scale}: a range for rrc and scale_jitter."
            )
        if (self.crop == "rrc") != (len(self.crop_ratio) == 2):
            raise RecipeError(
                f"recipe.crop={self.crop} with recipe.crop_ratio={self.crop_ratio}: a range for rrc alone."
            )
        for name in ("crop_scale", "crop_ratio"):
            low_high = getattr(self, name)
            if low_high and not 0 < low_high[0] <= low_high[1]:
                raise RecipeError(f"recipe.{name}={low_high}: a range [low, high] above 0.")
        if self.crop == "rrc" and self.crop_scale[1] > 1:
            raise RecipeError(f"recipe.crop_scale={self.crop_scale}: shares of the area, at most 1.")
        if self.crop == "scale_jitter" and self.crop_scale[0] < self.train_res:
            raise RecipeError(
                f"recipe.crop_scale={self.crop_scale}: short sides of at least train_res={self.train_res}."
            )

    def _check_what_belongs_together(self) -> None:
        if self.nesterov and self.optimizer != "sgd":
            raise RecipeError(f"recipe.nesterov=true: {self.optimizer} has no Nesterov momentum; sgd has.")
        if self.nesterov and not self.momentum:
            raise RecipeError("recipe.nesterov=true needs recipe.momentum above 0.")
        if self.optimizer in ("lamb", "adamw", "adam", "nadamw", "rmsproptf") and not (self.beta2 and self.eps):
            raise RecipeError(f"recipe.beta2, recipe.eps: {self.optimizer} needs both, 0.999 and 1e-8 for example.")
        if self.optimizer == "lion" and not self.beta2:
            raise RecipeError("recipe.beta2: lion needs it, 0.99 for example.")
        if self.optimizer in ("sgd", "lars") and (self.beta2 or self.eps):
            raise RecipeError(f"recipe.beta2, recipe.eps: {self.optimizer} uses neither; set both to 0.")
        if self.optimizer == "lion" and self.eps:
            raise RecipeError("recipe.eps: lion does not use it; set 0.")
        if self.lamb_clip and self.optimizer != "lamb":
            raise RecipeError(
                f"recipe.lamb_clip: {self.optimizer} is not lamb; recipe.grad_clip is for every optimiser."
            )
        if self.bce_threshold and self.loss != "bce":
            raise RecipeError("recipe.bce_threshold: it acts on loss bce alone; set 0.")
        if self.bce_threshold and self.label_smoothing:
            raise RecipeError("recipe.label_smoothing: recipe.bce_threshold erases it; set one of them to 0.")
        if self.rand_augment:
            _check_rand_augment(self.rand_augment)
        if self.auto_augment and self.auto_augment.split("-")[0] not in AUTO_AUGMENTS:
            raise RecipeError(f"recipe.auto_augment={self.auto_augment}: it is one of {', '.join(AUTO_AUGMENTS)}.")
        if self.rand_augment and self.auto_augment:
            raise RecipeError("recipe.rand_augment and recipe.auto_augment: choose one.")
        if self.ema and self.swa:
            raise RecipeError("recipe.ema and recipe.swa: choose one.")
        if self.ema == 1:
            raise RecipeError("recipe.ema=1 would keep the initial weights for ever; 0.9999 for example.")
        if self.swa > self.epochs:
            raise RecipeError(f"recipe.swa={self.swa}: more epochs than recipe.epochs={self.epochs}.")


AUTO_AUGMENTS = ("original", "originalr", "v0", "v0r", "3a")  # timm's policies


def _check_rand_augment(notation: str) -> None:
    """timm's notation, rand-m7-mstd0.5-inc1; timm itself skips a word that it does not know."""
    name, *words = notation.split("-")
    if name != "rand":
        raise RecipeError(f"recipe.rand_augment={notation}: it begins with rand, as rand-m7-mstd0.5-inc1 does.")
    for word in words:
        kind = re.fullmatch(r"(mstd|mmax|m|n|p|inc)(\d+(?:\.\d+)?)", word)
        if kind is None and not re.fullmatch(r"t[a-z]+\d*", word):
            raise RecipeError(
                f"recipe.rand_augment={notation}: {word} is none of m (magnitude), n (operations), mstd, mmax, p, inc."
            )
        if kind and kind.group(1) == "m" and float(kind.group(2)) > 30:
            raise RecipeError(f"recipe.rand_augment={notation}: magnitudes go to 10, or somewhat above.")
