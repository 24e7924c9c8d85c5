"""Any of timm's models by name, `arch=timm arch.model_name=convnext_tiny`, with this project's contract.

Timm's models have `forward_features`, `num_features` and `reset_classifier` themselves, and a `forward_intermediates`
that also returns the final map. The rest of the contract in archs/network.py is added here with timm's own functions.
"""

from functools import partial
from typing import Any

from torch import nn

from lineage.archs.arguments import ArchitectureError, Channels, Classes, Rate, checked
from lineage.text import nearest


@checked
def create(
    model_name: str, num_classes: Classes = 1000, in_channels: Channels = 3, drop_path: Rate = 0.0, dropout: Rate = 0.0
) -> nn.Module:
    """Build a timm model.

    Raises:
        ArchitectureError: the name is unknown (the nearest is named), the model does not take stochastic depth
            (timm's vgg, densenet, inception_v4, nasnet and xception do not).
    """
    import timm

    name = model_name.split(".")[0]
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        raise ArchitectureError(f"arch.model_name={model_name}: timm has no such model.{near}")
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        network: Any = timm.create_model(
            model_name, num_classes=num_classes, in_chans=in_channels, drop_rate=dropout, **options
        )
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise ArchitectureError(f"timm's {name} has no stochastic depth: set arch.drop_path=0.") from error
    network.min_size = 17  # timm states none; at 17 pixels the last of the usual five strides of 2 still reads 2
    network.notes = []
    network.checkpoint_gradients = partial(checkpoint_gradients, network)
    network.parameter_layers = partial(parameter_layers, network)
    return network


def checkpoint_gradients(network: Any, on: bool = True) -> None:
    """Recompute in the backward pass, as timm does it: batch normalisation moves its statistics in both passes.

    Raises:
        ArchitectureError: timm does not support it for this model.
    """
    try:
        network.set_grad_checkpointing(on)
    except (AssertionError, AttributeError) as error:
        raise ArchitectureError(f"timm's {type(network).__name__} does not recompute in the backward pass.") from error


def parameter_layers(network: Any) -> list[list[str]]:
    """Names of all parameters from stem to head, those of one depth together, as the model's `group_matcher` says.

    Raises:
        ArchitectureError: the model has no `group_matcher`.
    """
    from timm.models import group_parameters

    if not hasattr(network, "group_matcher"):
        raise ArchitectureError(f"timm's {type(network).__name__} does not state the depth of its layers.")
    return [*group_parameters(network, network.group_matcher()).values()]
