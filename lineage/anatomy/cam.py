"""Class activation maps: the places of an image that speak for a class.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391, section 3): the channels of the last feature map, each weighted with
the mean gradient of the class's logit with respect to it; negative sums are zero. Where the head is a global average
and a linear layer, that is the class activation map of Zhou et al. 2016 (arXiv 1512.04150).
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lineage.errors import UserError


def class_activation_maps(network: nn.Module, pixels: Tensor, classes: Tensor) -> tuple[Tensor, str]:
    """(B, h, w) float32, at least 0: the map of a class for each image; and the name of the layer with these maps.

    That layer is the last one before the head whose result has more than one place.

    Args:
        network: in evaluation mode.
        pixels: (B, C, H, W), normalised.
        classes: (B,) int64.

    Raises:
        UserError: no layer has maps, as in a network without convolutions.
    """
    maps: list[tuple[str, Tensor]] = []

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output[0, 0].numel() > 1:
            maps.append((name, output))

    layers = [(name, module) for name, module in network.named_modules() if name and name.split(".")[0] != "head"]
    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in layers]
    try:
        with torch.enable_grad():
            logits = network(pixels.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    if not maps:
        raise UserError(f"{type(network).__name__} has no layer with maps: lineage explain needs convolutions.")
    name, features = maps[-1]
    (gradient,) = torch.autograd.grad(logits.float().gather(1, classes[:, None]).sum(), features)
    channel = 3 if getattr(network, "output_fmt", "NCHW") == "NHWC" else 1  # of timm's Swin, for example
    weights = gradient.mean(dim=[axis for axis in (1, 2, 3) if axis != channel], keepdim=True)
    return (weights * features.detach()).sum(dim=channel).relu().float(), name
