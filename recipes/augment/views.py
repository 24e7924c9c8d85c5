"""Several views of an image in evaluation, whose logits are averaged."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Network = Callable[[Tensor], Tensor]


def average_views(views: str, network: Network, images: Tensor) -> Tensor:
    """Logits (B, K) of images (B, C, H, W) float32.

    Args:
        views: "": the image; "flip": it and its mirror image; "flip_translate": these, for a half, and for the other
            half those of two shifts by a pixel, to the lower right and to the upper left, in a reflected border
            (airbench94, arXiv 2404.00498, section 3.5).
    """
    if not views:
        return network(images)
    if views == "flip":
        return _with_mirror(network, images)
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    shifted = [padded[:, :, i : i + height, i : i + width] for i in (0, 2)]
    first, second = (_with_mirror(network, view) for view in shifted)
    return 0.5 * _with_mirror(network, images) + 0.25 * (first + second)


def _with_mirror(network: Network, images: Tensor) -> Tensor:
    return 0.5 * network(images) + 0.5 * network(images.flip(3))
