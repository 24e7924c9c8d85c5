"""Any of timm's models by name, through the same interface: `arch=timm arch.model_name=convnext_tiny`."""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from archs.blocks import ArchitectureError, Channels, Classes, Rate


def create(
    model_name: str,
    num_classes: Classes = 1000,
    in_channels: Channels = 3,
    drop_path: Rate = 0.0,
    dropout: Rate = 0.0,
) -> nn.Module:
    """Build a timm model.

    Raises:
        ArchitectureError: the name is unknown (the nearest ones are listed), the model does not take stochastic depth
            (timm's vgg, densenet, inception_v4, nasnet and xception do not).
    """
    import timm

    name = model_name.split(".")[0]
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        raise ArchitectureError(f"arch.model_name={model_name}: timm has no such model. Nearest: {', '.join(near)}.")
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        network = timm.create_model(
            model_name, num_classes=num_classes, in_chans=in_channels, drop_rate=dropout, **options
        )
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise ArchitectureError(f"timm's {name} has no stochastic depth: set arch.drop_path=0.") from error
    # timm does not say. From 17 on, the last of the usual five strides of two still has two pixels.
    network.min_size = 17  # type: ignore[assignment]  # a plain attribute
    return network
