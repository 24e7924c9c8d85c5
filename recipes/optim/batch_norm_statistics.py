"""The running statistics of batch normalisation: how a step moves them, and how they are computed anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The layers that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def running_statistics(layers: Iterable[_BatchNorm]) -> list[Tensor]:
    """Running means and variances, layer by layer."""
    return [buffer for m in layers for buffer in (m.running_mean, m.running_var) if buffer is not None]


class AccumulatedBatchNorm:
    """Makes the micro-batches of a step move the running statistics once between them.

    Each starts from those of the step before; after the last one they are the mean of what each made of them, which is
    (1 - momentum) old + momentum (mean of the micro-batches' statistics). n devices with a micro-batch each have the
    same on average, so the statistics, and with them the evaluation, do not depend on how a machine splits a step.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers = batch_norms(network)
        self.old: list[Tensor] = []
        self.sums: list[Tensor] = []

    @contextmanager
    def micro_batch(self, index: int, count: int) -> Iterator[None]:
        """Surrounds the forward and backward pass of micro-batch `index` of `count`."""
        if count == 1:
            yield
            return
        now = running_statistics(self.layers)
        if index == 0:
            self.old, self.sums = [tensor.clone() for tensor in now], [torch.zeros_like(tensor) for tensor in now]
        elif now:
            torch._foreach_copy_(now, self.old)
        yield
        if now:
            torch._foreach_add_(self.sums, now, alpha=1 / count)
        if now and index == count - 1:
            torch._foreach_copy_(now, self.sums)


@torch.no_grad()
def recompute(network: nn.Module, modes: Sequence[bool], batches: Iterable[Tensor]) -> int:
    """Set the running statistics to the mean of those of the batches, (n, C, H, W) each; returns how many they were.

    As in the code of SWA (arXiv 1803.05407, section 3.4; torch.optim.swa_utils.update_bn) and in pycls's precise
    statistics (Wu and Johnson 2021, arXiv 2105.07576, section 3.1): the network is in training mode, dropout included.

    Args:
        modes: which of its modules are in training mode while it is trained; what is frozen keeps its statistics.
    """
    was_training = [(m, m.training) for m in network.modules()]
    for (module, _), training in zip(was_training, modes, strict=True):
        module.training = training
    layers = [layer for layer in batch_norms(network) if layer.training]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
    count = 0
    for images in batches:
        network(images)
        count += 1
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, training in was_training:
        module.training = training
    return count
