"""A network by name with its weights, for Python: `lineage.build("resnet50", pretrained="timm")`."""

from typing import Any

from lineage.archs import catalogue
from lineage.archs.network import Network
from lineage.weights.preprocessing import LIBRARIES
from lineage.weights.provenance import recorded_preprocessing
from lineage.weights.released import load


def build(
    name: str,
    num_classes: int | None = None,
    in_channels: int | None = None,
    *,
    resolution: int | None = None,
    pretrained: str | None = None,
    **arguments: Any,
) -> Network:
    """As `lineage.archs.catalogue.build`, and filled with weights.

    Args:
        pretrained: weights to start from: "timm", "torchvision" or a file. The arguments that they need (`norm_eps`)
            are set. The network's `notes` say what was replaced or left out, and its `preprocessing` is that of the
            images they were trained on, or None if this is unknown.

    Raises:
        ArchitectureError: as there; there are no such weights, or they are of another network.
    """
    if pretrained is None:
        return catalogue.build(name, num_classes, in_channels, resolution=resolution, **arguments)
    configured, published = catalogue.configured(name, resolution, arguments)
    needed = published.get(pretrained, {}) if pretrained in LIBRARIES else {}
    arguments = {key: value for key, value in needed.items() if key != "name"} | arguments
    network = catalogue.build(name, num_classes, in_channels, resolution=resolution, **arguments)
    network.preprocessing = recorded_preprocessing(pretrained, published, lambda: network)
    network.notes += load(network, pretrained, configured | arguments, published, network.preprocessing)
    return network
