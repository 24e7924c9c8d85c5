"""The running statistics of batch normalisation: how a step updates them, and how they are recomputed."""

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
    """Updates the running statistics once a step, whatever the number of its micro-batches.

    Each micro-batch starts from the statistics of the previous step. After the last one they become the mean of all
    results: (1 - momentum) old + momentum (mean of the micro-batches' statistics). The average over n devices with one
    micro-batch each is the same, so evaluation does not depend on how a machine splits a step.

    The numbers of batches seen, which nobody reads but a layer without momentum, are counted for all layers at once:
    each layer would add 1 to its own, in a GPU kernel of its own.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers = batch_norms(network)
        self.old: list[Tensor] = []
        self.sums: list[Tensor] = []

    @contextmanager
    def micro_batch(self, index: int, count: int) -> Iterator[None]:
        """Surrounds the forward and backward pass of micro-batch `index` of `count`."""
        statistics = running_statistics(self.layers) if count > 1 else []
        if statistics and index == 0:
            if not self.old:
                self.old, self.sums = ([torch.empty_like(tensor) for tensor in statistics] for _ in range(2))
            torch._foreach_copy_(self.old, statistics)
            torch._foreach_zero_(self.sums)
        elif statistics:
            torch._foreach_copy_(statistics, self.old)
        with self._counted_at_once():
            yield
        if statistics:
            torch._foreach_add_(self.sums, statistics, alpha=1 / count)
            if index == count - 1:
                torch._foreach_copy_(statistics, self.sums)

    @contextmanager
    def _counted_at_once(self) -> Iterator[None]:
        name = "num_batches_tracked"  # in _buffers: to set this attribute of ResNet-50's 53 layers would take 0.3 ms
        counting = [layer._buffers for layer in self.layers if layer.training and layer.momentum is not None]
        counters = [(buffers, count) for buffers in counting if (count := buffers[name]) is not None]
        for buffers, _ in counters:
            buffers[name] = None  # the layer does not count then
        try:
            yield
        finally:
            for buffers, count in counters:
                buffers[name] = count
        if counters:
            torch._foreach_add_([count for _, count in counters], 1)


@torch.no_grad()
def recompute(network: nn.Module, training_modes: Sequence[bool], batches: Iterable[Tensor]) -> int:
    """Set the running statistics to the mean of those of the batches, (n, C, H, W) each; returns the number of batches.

    As in the code of SWA (arXiv 1803.05407, section 3.4; torch.optim.swa_utils.update_bn) and in pycls's precise
    statistics (Wu and Johnson 2021, arXiv 2105.07576, section 3.1), the network is in training mode, with dropout; but
    modules that are frozen, as `training_modes` says, keep their statistics.
    """
    modes = [(module, module.training) for module in network.modules()]
    for (module, _), training in zip(modes, training_modes, strict=True):
        module.training = training
    momenta = {layer: layer.momentum for layer in batch_norms(network) if layer.training}
    for layer in momenta:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
    count = 0
    for images in batches:
        network(images)
        count += 1
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    for module, training in modes:
        module.training = training
    return count
