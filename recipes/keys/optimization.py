"""The optimiser and its groups of parameters."""

from dataclasses import dataclass
from typing import Annotated, Literal

from lineage.recipes.keys.values import BelowOne, Rate, Share

Optimizer = Annotated[str, Literal["sgd", "lamb", "adamw", "adam", "nadamw", "rmsproptf", "lars", "lion", "muon"]]
Scaling = Annotated[str, Literal["none", "linear", "sqrt"]]


@dataclass(kw_only=True)
class Optimization:
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
