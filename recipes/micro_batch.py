"""The loss of a micro-batch: what one forward pass of one device sees and what it costs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recipes.device_augmentation import DeviceAugmentation
from recipes.losses import training_loss
from recipes.mixing import draw_mix, mix_images, soft_targets
from recipes.recipe import Recipe


class MicroBatchLoss(NamedTuple):
    """loss: the mean over images, with its graph; correct: images whose own label is the largest logit."""

    loss: Tensor
    correct: Tensor


def micro_batch_loss(
    network: nn.Module, recipe: Recipe, augment: DeviceAugmentation, images: Tensor, labels: Tensor, origin: Tensor,
    *, num_classes: int, seed: int, step: int, memory_format: torch.memory_format,
) -> MicroBatchLoss:  # fmt: skip
    """Augment, mix, run the network, compare.

    Args:
        images: (n, C, H, W) uint8.
        labels: (n,) int64.
        origin: (n, 3) int64, the epoch, sample and repetition of each image, which its augmentation is a function of.
        seed, step: mixing is a function of them, the same in all micro-batches of the step.
    """
    device = images.device.type
    with torch.autocast(device, enabled=False):
        pixels = augment(images, origin)
        mix = draw_mix(recipe, pixels.shape[2], pixels.shape[3], seed, step)
        if mix is not None:
            pixels = mix_images(pixels, mix)
        pixels = pixels.contiguous(memory_format=memory_format)
    targets = labels
    if mix is not None or recipe.loss == "bce":
        targets = soft_targets(labels, num_classes, recipe.label_smoothing, mix)

    output = network(pixels)
    with torch.autocast(device, enabled=False):
        loss = training_loss(recipe, output, targets, getattr(network, "aux_weights", ()))
    logits = output if isinstance(output, Tensor) else output[0]
    return MicroBatchLoss(loss, (logits.detach().argmax(dim=1) == labels).sum())
