"""Logits of an evaluation: averages over views of an image, and over networks."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MULTI_CROP = ("five", "ten")  # views that are crops of a larger image


class Ensemble(nn.Module):
    """Networks whose probabilities are averaged; it returns the logarithm of the mean."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K)."""
        parts = [network(images).float().log_softmax(dim=1) for network in self.networks]
        return torch.stack(parts).logsumexp(dim=0) - math.log(len(parts))


def average_views(views: str, network: Callable[[Tensor], Tensor], images: Tensor, side: int = 0) -> Tensor:
    """Logits (B, K) of images (B, C, H, W) float32.

    Args:
        views: "": the image; "flip": it and its mirror image; "flip_translate": "flip" with weight 1/2, and "flip" of
            the image shifted by a pixel to the lower right and to the upper left, with 1/4 each; the border is
            reflected (airbench94, arXiv 2404.00498, section 3.5); "five": the corners and the centre; "ten": "flip" of
            these five (Krizhevsky et al. 2012, section 4.1).
        side: pixels of these crops and, of larger images, for the other views too; 0: whole images.
    """
    if side:
        far, middle = images.shape[2] - side, round((images.shape[2] - side) / 2)
        corners = [(0, 0), (0, far), (far, 0), (far, far)] if views in MULTI_CROP else []
        crops = [images[:, :, y : y + side, x : x + side] for y, x in [*corners, (middle, middle)]]
        of_crop = {"five": "", "ten": "flip"}.get(views, views)
        return torch.stack([average_views(of_crop, network, crop) for crop in crops]).mean(dim=0)
    if not views:
        return network(images)
    if views == "flip":
        return 0.5 * network(images) + 0.5 * network(images.flip(3))
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    shifted = [images, *(padded[:, :, i : i + height, i : i + width] for i in (0, 2))]
    plain, first, second = (average_views("flip", network, each) for each in shifted)
    return 0.5 * plain + 0.25 * (first + second)
