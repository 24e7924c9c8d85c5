"""Regularisation, and the start of residual branches."""

from dataclasses import dataclass
from typing import Annotated

from lineage.recipes.keys.values import BelowOne, Rate


@dataclass(kw_only=True)
class Regularization:
    """A run says at its start which of these its network does not have."""

    zero_init_last: bool  # residual branches start at zero (Goyal et al. 2017, arXiv 1706.02677)
    label_smoothing: BelowOne = 0.0  # share of the target that is spread over all classes (arXiv 1512.00567)
    dropout: BelowOne = 0.0  # probability before the classifier
    drop_path: BelowOne = 0.0  # stochastic depth of the last block
    repeated_aug: Annotated[int, "0 <= x <= 1000"] = 0  # augmentations of an image in a row (arXiv 1902.05509)
    grad_clip: Rate = 0.0  # bound on the global gradient norm
