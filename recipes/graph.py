"""The forward and backward pass of a micro-batch as a CUDA graph.

The passes of a small network are hundreds of kernels of some microseconds each, and the GPU waits for the host, which
launches them one by one. A graph is captured once; its replay launches them all at once, on the same memory.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

# Below so many multiply-adds of a micro-batch for each layer, the host takes longer to launch the layer than the GPU to
# compute it. A layer is 2.4 kernels, forward and backward (ResNet-20: 215 of 88 layers), of some 6 us on the host. It
# computes its multiply-adds three times, at half the 4e13 a second of ResNet-50 at 3,000 images/s, since its maps are
# small: 2.4 x 6e-6 s x 2e13 / 3. At batch 128 LeNet-5 has 4e6 a layer, ResNet-20 6e7, ResNet-50 at 224 pixels 3e9.
LAUNCH_BOUND_MACS = 1e8


def is_launch_bound(network: nn.Module, macs: float) -> bool:
    """Whether a GPU would wait for the launches of a micro-batch of `macs` multiply-adds, forward."""
    return macs < LAUNCH_BOUND_MACS * sum(next(module.children(), None) is None for module in network.modules())


def recomputes(network: nn.Module) -> bool:
    """Whether the backward pass computes activations again, which needs the random state: no capture may read it."""
    flags = ("recomputed", "memory_efficient", "grad_checkpointing")  # of Stage, DenseNet, timm
    return any(getattr(module, flag, False) for module in network.modules() for flag in flags)


class Recorder:
    """Captures CUDA graphs. They share their memory, so that the results of a replay last until the next one's."""

    def __init__(self) -> None:
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """The replay of `work`, and its results, which each replay writes anew."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):  # cuDNN searches its kernels, and libraries allocate what they keep
                work()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: meanwhile other threads may pin batches and look after NCCL.
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            results = work()
        return graph.replay, results


class MicroBatchGraphs:
    """Replaces the passes of a micro-batch; there is a graph for each shape of the images.

    Weights, statistics and gradients are those without graphs, bit for bit: a replay reads the seed that `reseed` set.
    The gradients have memory of their own. torch.cuda.make_graphed_callables would hand out that of its graph, which
    the next micro-batch overwrites, as .grad. No hook of Lightning's or DDP's is called.

    `loss` is the forward pass, from pixels, labels and targets to the mean loss and the number of right answers.
    """

    def __init__(self, network: nn.Module, loss: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        self.network, self.loss, self.record = network, loss, Recorder()
        self.parameters: list[nn.Parameter] = []  # those that the loss depends on
        self.gradients: list[Tensor] = []  # theirs
        self.graphs: dict[Any, Any] = {}  # (shape, first) -> inputs, replay, results

    def run(self, values: tuple[Tensor, Tensor, Tensor], factor: float, first: bool) -> tuple[Tensor, Tensor]:
        """Add the gradients of loss x factor to those of the step or, with its `first` micro-batch, begin one; returns
        what `loss` returns of the values, the second of which lasts until the next call."""
        key = (values[0].shape, first)
        if key not in self.graphs:
            self.graphs[key] = self._capture(values, first)
        inputs, replay, results = self.graphs[key]
        for buffer, value in zip(inputs[1:], values, strict=True):
            buffer.copy_(value)
        inputs[0].fill_(factor)
        replay()
        loss, correct = results
        return loss.clone(), correct

    def finish_step(self) -> None:
        """Average the gradients over the devices, as DDP's hooks would have done, and give them to the optimiser."""
        devices = dist.get_world_size() if dist.is_initialized() else 1
        if devices > 1:
            flat = _flatten_dense_tensors(self.gradients).div_(devices)
            dist.all_reduce(flat)
            torch._foreach_copy_(self.gradients, _unflatten_dense_tensors(flat, self.gradients))
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def _capture(self, values: tuple[Tensor, Tensor, Tensor], first: bool) -> tuple[list[Tensor], Any, Any]:
        """A graph and its inputs. What capturing changes besides is set back: statistics, gradients, random state."""
        device = values[0].device
        inputs = [torch.ones((), device=device), *(value.clone() for value in values)]  # the factor is the first
        before = [(tensor, tensor.clone()) for tensor in (*self.network.buffers(), *self.gradients)]
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            replay, results = self.record(lambda: self._passes(first, *inputs))
        for tensor, old in before:
            tensor.copy_(old)
        return inputs, replay, results

    def _passes(self, first: bool, factor: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        loss, correct = self.loss(*values)
        (loss * factor).backward()
        if not self.parameters:
            self.parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
            self.gradients = [torch.empty_like(parameter) for parameter in self.parameters]
        gradients: list[Any] = [parameter.grad for parameter in self.parameters]
        (torch._foreach_copy_ if first else torch._foreach_add_)(self.gradients, gradients)
        for parameter in self.parameters:
            parameter.grad = None  # its memory is the graph's
        return loss.detach(), correct
