"""The optimiser and its groups of parameters."""

from collections.abc import Iterator
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

    def problems(self) -> Iterator[str]:
        name = self.optimizer
        if self.nesterov and name not in ("sgd", "muon"):
            yield f"nesterov=true: {name} has no Nesterov momentum; sgd has."
        if self.nesterov and not self.momentum:
            yield "nesterov=true needs recipe.momentum above 0."
        if name in ("lamb", "adamw", "adam", "nadamw", "rmsproptf") and not (self.beta2 and self.eps):
            yield f"beta2, recipe.eps: {name} needs both, 0.999 and 1e-8 for example."
        if name == "lion" and not self.beta2:
            yield "beta2: lion needs it, 0.99 for example."
        if name in ("sgd", "lars", "muon") and self.beta2:
            yield f"beta2={self.beta2:g}: {name} does not use it; set 0."
        if name in ("sgd", "lion", "muon") and self.eps:
            yield f"eps={self.eps:g}: {name} does not use it; set 0."
        if self.lamb_clip and name != "lamb":
            yield f"lamb_clip: {name} is not lamb; recipe.grad_clip is for every optimiser."
        if (name == "lars") != bool(self.lars_trust):
            yield f"lars_trust={self.lars_trust:g}: lars needs it, 0.001 for example, the others have none."
        if (self.lr_scaling != "none") != bool(self.lr_batch):
            yield f"lr_scaling={self.lr_scaling}, lr_batch={self.lr_batch}: linear and sqrt need both, none needs 0."
        muon = (self.muon_iterations, self.head_lr, self.bias_lr)
        if name == "muon" and not (self.lr and all(muon)):
            yield "muon_iterations, recipe.head_lr, recipe.bias_lr: muon needs lr and them, 3, 0.67, 0.053 for example."
        if name == "muon" and self.norm_bias_lr_factor:
            yield "norm_bias_lr_factor: muon has recipe.bias_lr instead; set 0."
        if name != "muon" and any((*muon, self.sgd_momentum)):
            yield f"muon_iterations, recipe.sgd_momentum, recipe.head_lr, recipe.bias_lr: {name} has none; set 0."
        if bool(self.lookahead) != bool(self.lookahead_steps):
            yield "lookahead, recipe.lookahead_steps: both or neither, 0.774 and 5 for example."
        if self.layer_decay and self.norm_bias_lr_factor:
            yield "layer_decay and recipe.norm_bias_lr_factor: choose one."
