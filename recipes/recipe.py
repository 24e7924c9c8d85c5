"""The schema of every recipe: one column of Table 2 of "ResNet strikes back" (arXiv 2110.00476). Imports no torch.

A key without a default must be in the YAML; a default always means "off". A choice of words is annotated
`Annotated[str, Literal[...]]`, since OmegaConf does not take a Literal as a type. recipes/rules.yaml says which keys go
together.
"""

import inspect
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from lineage.constraints import problem
from lineage.errors import UserError
from lineage.rules import broken_rule
from lineage.text import as_yaml, comments

RULES = Path(__file__).with_name("rules.yaml")

Share = Annotated[float, "0 <= x <= 1"]  # a probability too
BelowOne = Annotated[float, "0 <= x < 1"]
Rate = Annotated[float, "0 <= x <= 1e9"]  # a learning rate
Epochs = Annotated[float, "0 <= x <= 1000000"]
Pixels = Annotated[int, "1 <= x <= 8192"]
Finetune = Annotated[str, Literal["", "classifier"]]
Optimizer = Annotated[str, Literal["sgd", "lamb", "adamw", "adam", "nadamw", "rmsproptf", "lars", "lion", "muon"]]
Scaling = Annotated[str, Literal["none", "linear", "sqrt"]]
Schedule = Annotated[
    str, Literal["constant", "step", "multistep", "exponential", "list", "plateau", "linear", "cosine"]
]
Interval = Annotated[str, Literal["epoch", "step"]]
Crop = Annotated[str, Literal["none", "pad", "rrc", "scale_jitter"]]
PaddingMode = Annotated[str, Literal["none", "zero", "mean", "reflect"]]
Interpolation = Annotated[str, Literal["bilinear", "bicubic", "area"]]
Strength = Annotated[float, "0 <= x <= 10"]
MixAlpha = Annotated[float, "0 <= x <= 1000"]
ErasingMode = Annotated[str, Literal["pixel", "constant"]]
Partner = Annotated[str, Literal["reversed", "random", "rolled"]]
TestInterpolation = Annotated[str, Literal["", "bilinear", "bicubic", "area"]]
Loss = Annotated[str, Literal["ce", "bce", "rbf"]]
Distillation = Annotated[str, Literal["", "soft", "hard"]]
Views = Annotated[str, Literal["", "flip", "flip_translate", "five", "ten"]]
ClassWeights = Annotated[Any, Literal["none", "balanced"] | list[Annotated[float, "0 <= x <= 1e6"]]]
Sampling = Annotated[str, Literal["uniform", "balanced", "sqrt"]]
ValViews = Annotated[str, Literal["", "flip", "flip_translate"]]


class RecipeError(UserError, ValueError):
    """An invalid value of a recipe; the message is one line for the user."""


@dataclass(kw_only=True)
class Recipe:
    """All keys, in the table's order. A line "# ---- NAME" begins a group."""

    # ---- length
    epochs: Annotated[int, "1 <= x <= 1000000"]  # that the schedule spans; cooldown_epochs come after them
    cooldown_epochs: Annotated[int, "0 <= x <= 100000"] = 0  # more epochs after them, at the rate of the schedule's end
    passes: Annotated[int, "0 <= x <= 1000"] = 0  # times that an epoch goes through the data; 0 and 1: once
    batch_size: Annotated[int, "1 <= x <= 10000000"]  # images of one step, over all devices and micro-batches
    # Batch normalisation and a `mix_per: chunk` see as many. A step is batch_size / device_batch chunks, rounded up to
    # a number that divides the batch. A changed batch_size keeps device_batch, and with it how batch normalisation
    # behaves (Goyal et al. 2017, arXiv 1706.02677, section 3); a batch that is smaller is one chunk.
    device_batch: Annotated[int, "0 <= x <= 10000000"] = 0  # images that one device of the paper saw at once; 0: all
    # A data set with a native size (digits, MNIST, CIFAR) keeps it.
    train_res: Pixels  # side of a training image, in pixels
    progressive_res: list[Pixels] = field(default_factory=list)  # in equal shares of the epochs; the last is train_res
    test_res: Pixels  # side of an image in validation and test, in pixels; native sizes stay too
    finetune: Finetune = ""  # classifier: train only the classifier, and update the last BN's statistics

    # ---- optimization
    optimizer: Optimizer  # all but sgd and muon are timm's
    lr: Rate  # the peak, for this batch_size; or with lr_scaling for a batch of lr_batch
    lr_scaling: Scaling = "none"  # times batch_size / lr_batch, or its square root
    lr_batch: Annotated[int, "0 <= x <= 10000000"] = 0  # the batch that lr is stated for; 0: every one
    momentum: BelowOne  # of SGD and RMSProp; beta1 of Adam and LAMB
    nesterov: bool = False  # SGD and Muon only
    beta2: BelowOne = 0.0  # of Adam and LAMB; decay of the squared gradient in RMSProp
    eps: Annotated[float, "0 <= x <= 10"] = 0.0  # of Adam, LAMB, LARS and RMSProp
    lamb_clip: Rate = 0.0  # LAMB only: bound on the global gradient norm in the optimiser (timm: 1.0)
    lars_trust: Annotated[float, "0 <= x <= 1e3"] = 0.0  # LARS only: trust coefficient (arXiv 1708.03888: 0.001)
    # With muon lr and momentum are those of the filters of convolutions; SGD trains all other parameters
    muon_iterations: Annotated[int, "0 <= x <= 100"] = 0  # of Newton and Schulz, which orthogonalise a filter's update
    sgd_momentum: BelowOne = 0.0  # muon: of the parameters that SGD trains
    head_lr: Rate = 0.0  # SGD's peak rate for matrices, as the classifier's; their decay is weight_decay x lr / head_lr
    bias_lr: Rate = 0.0  # the same for biases and other vectors
    weight_decay: Annotated[float, "0 <= x <= 1e3"]  # times the weights: added to the gradient, or AdamW's update
    decay_norm: bool  # whether weight decay acts on normalisation's weights and biases
    decay_bias: bool  # and on the biases of convolutions and linear layers
    no_decay_depthwise: bool = False  # and not on depthwise filters (arXiv 1704.04861, section 3.2)
    norm_bias_lr_factor: Annotated[float, "0 <= x <= 1e4"] = 0.0  # BN biases: their rate over lr; divides their decay
    layer_decay: Share = 0.0  # rate of each layer relative to the next one's (arXiv 2106.08254)
    lookahead: BelowOne = 0.0  # decay of slow weights (arXiv 1907.08610) at the end
    lookahead_steps: Annotated[int, "0 <= x <= 1000"] = 0  # steps between two updates of the slow weights

    # ---- schedule
    schedule: Schedule  # how the learning rate goes from lr over the epochs
    schedule_interval: Interval  # the rate changes every "epoch" (timm, the papers) or every "step"
    decay_rate: Share = 0.0  # step, multistep, exponential, plateau: factor of each decay
    # multistep, list: when the rate changes; step, exponential: one period.
    decay_epochs: list[Annotated[float, "0 < x <= 1000000"]] = field(default_factory=list)
    lrs: list[Rate] = field(default_factory=list)  # list: before, between and after decay_epochs; first lr
    patience: Annotated[int, "0 <= x <= 100000"] = 0  # plateau: epochs without a better val_top1 before a decay
    max_decays: Annotated[int, "0 <= x <= 1000"] = 0  # plateau: decays in all; a further one ends the training
    warmup_epochs: Epochs = 0.0  # the first ones, in which the rate rises
    warmup_lr: Rate = 0.0  # where warm-up starts, linearly to lr
    warmup_factor: Share = 0.0  # or: a factor of the schedule's rate, linear from this value to 1
    after_warmup: bool = False  # the schedule begins at the end of warm-up and covers the remaining epochs
    min_lr: Rate = 0.0  # linear, cosine: where they end
    whiten_bias_epochs: Epochs = 0.0  # a whitening layer's bias is trained in the first of them alone; 0: in all
    whiten_bias_decay: bool = False  # and its rate falls to 0 by then, in a straight line

    # ---- regularization
    # A run says at its start which of these its network does not have.

    zero_init_last: bool  # residual branches start at zero (Goyal et al. 2017, arXiv 1706.02677)
    label_smoothing: BelowOne = 0.0  # share of the target that is spread over all classes (arXiv 1512.00567)
    dropout: BelowOne = 0.0  # probability before the classifier
    drop_path: BelowOne = 0.0  # stochastic depth of the last block
    repeated_aug: Annotated[int, "0 <= x <= 1000"] = 0  # augmentations of an image in a row (arXiv 1902.05509)
    grad_clip: Rate = 0.0  # bound on the global gradient norm

    # ---- augmentation
    hflip: Share = 0.0  # probability; off where the data set says mirror: false
    hflip_alternating: bool = False  # drawn in the first epoch, then in turn (airbench, arXiv 2404.00498, section 3.3)
    crop: Crop = "none"  # pad: shift in a padded border; rrc: random resized crop; scale_jitter: He et al.'s
    crop_padding: Annotated[int, "0 <= x <= 4096"] = 0  # pad: border in pixels
    crop_padding_mode: PaddingMode = "none"  # zero: black; mean: zero once normalised; reflect
    # rrc: least and greatest share of the area; scale_jitter: of the short side, in pixels
    crop_scale: list[Annotated[float, "0 < x <= 8192"]] = field(default_factory=list)
    crop_ratio: list[Annotated[float, "0 < x <= 100"]] = field(default_factory=list)  # rrc: range of width / height
    interpolation: Interpolation  # of every resize; area: a box filter, for speed
    rand_augment: str = ""  # timm's notation: rand-m7-mstd0.5-inc1
    auto_augment: str = ""  # timm's notation: original, v0
    trivial_augment: bool = False  # TrivialAugmentWide, arXiv 2103.10158, as torchvision's
    color_jitter: Strength = 0.0  # of brightness, contrast and saturation, in random order
    pca_lighting: Strength = 0.0  # sigma along the principal colours (Krizhevsky et al. 2012)
    erasing_prob: Share = 0.0  # random erasing of a box, per image (arXiv 1708.04896)
    erasing_mode: ErasingMode  # pixel: normal noise (timm); constant: the mean (torchvision)
    cutout: Annotated[int, "0 <= x <= 8192"] = 0  # side in pixels of a square that is the mean (arXiv 1708.04552)
    mixup_alpha: MixAlpha = 0.0  # of the Beta distribution that an image's share is drawn from (arXiv 1710.09412)
    cutmix_alpha: MixAlpha = 0.0  # the same for a box (arXiv 1905.04899); beside mixup: one of the two, by equal chance
    mix_partner: Partner  # reversed: the mirrored position in the batch (timm); rolled: torchvision
    mix_per: Annotated[str, Literal["step", "chunk"]]  # one draw a step, or one for each micro-batch of a device

    # ---- averages
    ema: BelowOne = 0.0  # decay at each update
    ema_every: Annotated[int, "0 <= x <= 1000000"] = 0  # steps between two updates; 0 and 1: every step
    ema_ramp: bool = False  # decay min(ema, (1 + n) / (10 + n)) at update n, as TensorFlow's num_updates
    ema_warmup_copy: bool = False  # during warm-up the average is the weights (pycls, torchvision)
    swa: Annotated[int, "0 <= x <= 1000000"] = 0  # equal average over this many last epochs (arXiv 1803.05407)
    swa_lr: Rate = 0.0  # constant rate of these epochs; 0: the schedule's
    precise_bn: Annotated[int, "0 <= x <= 100000000"] = 0  # images to compute BN statistics from, for evaluations

    # ---- objective
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
    def total_epochs(self) -> int:
        return self.epochs + self.cooldown_epochs

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, by mixup or CutMix."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    def check(self) -> None:
        """Raise RecipeError for the first value that makes no sense, alone or beside the others."""
        for name, annotation in ANNOTATIONS.items():
            if wrong := problem(annotation, getattr(self, name)):
                raise RecipeError(f"recipe.{name}={as_yaml(getattr(self, name))}: {wrong}")
        if wrong := broken_rule(RULES, vars(self)):
            raise RecipeError(f"recipe.{wrong}")


ANNOTATIONS: dict[str, Any] = get_type_hints(Recipe, include_extras=True)  # of all keys


@cache
def recipe_keys() -> dict[str, dict[str, str]]:
    """The keys by their group, in the table's order, and the comments beside them."""
    groups = re.split(r"^    # ---- (\w+)\n", inspect.getsource(Recipe), flags=re.MULTILINE)[1:]
    texts = {name: comments(source) for name, source in zip(groups[::2], groups[1::2], strict=True)}
    return {name: {key: text for key, text in of.items() if key in ANNOTATIONS} for name, of in texts.items()}


def header(file: Path) -> dict[str, str]:
    """The comment at the head of a recipe's YAML: its title, under "", and its paragraphs by their first word."""
    lines = takewhile(lambda line: line.startswith("# "), file.read_text(encoding="utf-8").splitlines())
    title, *parts = re.split(r"^([A-Z][a-z]+): +", "\n".join(line[2:] for line in lines), flags=re.MULTILINE)
    found = {"": title, **dict(zip(parts[::2], parts[1::2], strict=True))}
    return {word: " ".join(text.split()) for word, text in found.items()}
