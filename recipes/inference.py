"""A trained network as a function from images to logits, as every evaluation computes them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.recipes.augment.device import Normalise


class Inference:
    """Logits of uint8 images.

    Args:
        network: in evaluation mode, on its device.
        normalise: (B, C, H, W) uint8 to the network's input.
        views: see average_views.
        channels_last: memory format of the images.
        autocast: the type of mixed precision; None: float32.
    """

    def __init__(
        self, network: nn.Module, normalise: Normalise, *, views: str, channels_last: bool, autocast: torch.dtype | None
    ) -> None:
        self.network, self.normalise, self.views, self.autocast = network, normalise, views, autocast
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K) float32."""
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            return average_views(self.views, self.network, self.pixels(images)).float()

    def pixels(self, images: Tensor) -> Tensor:
        """The network's input of uint8 images, float32."""
        with torch.autocast(images.device.type, enabled=False):
            return self.normalise(images).contiguous(memory_format=self.memory_format)


def average_views(views: str, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits (B, K) of images (B, C, H, W) float32.

    Args:
        views: "": the image; "flip": it and its mirror image; "flip_translate": "flip" with weight 1/2, and "flip" of
            the image shifted by a pixel to the lower right and to the upper left, with 1/4 each; the border is
            reflected (airbench94, arXiv 2404.00498, section 3.5).
    """
    if not views:
        return network(images)
    if views == "flip":
        return _average_flip(network, images)
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    first, second = (_average_flip(network, padded[:, :, i : i + height, i : i + width]) for i in (0, 2))
    return 0.5 * _average_flip(network, images) + 0.25 * (first + second)


def _average_flip(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return 0.5 * network(images) + 0.5 * network(images.flip(3))
