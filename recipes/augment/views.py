"""Test-time augmentation: the logits of several views of an image, averaged."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Network = Callable[[Tensor], Tensor]


def average_views(views: str, network: Network, images: Tensor) -> Tensor:
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


def _average_flip(network: Network, images: Tensor) -> Tensor:
    return 0.5 * network(images) + 0.5 * network(images.flip(3))
