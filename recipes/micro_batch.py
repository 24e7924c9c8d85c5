"""The loss of a micro-batch: augment and mix, then forward pass and loss, which a CUDA graph may replay."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lineage.recipes.augment.device import DeviceAugmentation
from lineage.recipes.losses import distillation_loss, training_loss
from lineage.recipes.mixing import Mix, draw_mix, mix_images, soft_targets
from lineage.recipes.recipe import Recipe


class MicroBatchKey(NamedTuple):
    """Mixing is a function of it: the run's seed, the step, and the number of the micro-batch within it."""

    seed: int
    step: int
    chunk: int


def augment_and_mix(
    recipe: Recipe, augment: DeviceAugmentation, images: Tensor, sample_keys: Tensor, epoch: int, key: MicroBatchKey
) -> tuple[Tensor, Mix | None]:
    """The network's input, (n, C, H, W) float32, and how its images were mixed."""
    pixels = augment(images, sample_keys, epoch)
    mix = draw_mix(recipe, *pixels.shape[2:], *(key[:2] if recipe.mix_per == "step" else key))
    return pixels if mix is None else mix_images(pixels, mix), mix


def micro_batch_input(
    recipe: Recipe, augment: DeviceAugmentation, images: Tensor, labels: Tensor, sample_keys: Tensor, *,
    num_classes: int, epoch: int, key: MicroBatchKey, memory_format: torch.memory_format,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The network's input, (n, C, H, W) float32, and its targets: the labels, or (n, K) where they are soft.

    Args:
        images, labels: (n, C, H, W) uint8 and (n,) int64.
        sample_keys: (n, 3) int64, the epoch, sample and repetition of each image; augmentation is a function of them.
        epoch: that of the sample keys, which lie on the device.
    """
    with torch.autocast(images.device.type, enabled=False):
        pixels, mix = augment_and_mix(recipe, augment, images, sample_keys, epoch, key)
        pixels = pixels.contiguous(memory_format=memory_format)
    if mix is None and recipe.loss != "bce":
        return pixels, labels
    return pixels, soft_targets(recipe, labels, num_classes, mix)


def micro_batch_loss(
    network: nn.Module, recipe: Recipe, teacher: nn.Module | None, pixels: Tensor, labels: Tensor, targets: Tensor,
    class_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The mean loss over images, with its graph, and how many of them have their own label as the top class; 0 where
    images are mixed, which have no single right class.

    Args:
        teacher: the network that a distillation learns from; it gets the same pixels.
        pixels, targets: see micro_batch_input.
        class_weights: (K,); see losses.weighted.
    """
    output = network(pixels)
    logits = output if isinstance(output, Tensor) else output[0]
    with torch.no_grad():
        teacher_logits = None if teacher is None else teacher(pixels).float()
    with torch.autocast(pixels.device.type, enabled=False):
        loss = training_loss(recipe, output, targets, getattr(network, "aux_weights", ()), class_weights)
        if teacher_logits is not None:
            distilled = distillation_loss(recipe, logits.float(), teacher_logits)
            loss = (1 - recipe.distill_share) * loss + recipe.distill_share * distilled
    if recipe.mixes:
        return loss, labels.new_zeros(())
    return loss, (logits.detach().argmax(dim=1) == labels).sum()
