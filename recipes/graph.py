"""The forward and backward pass of a micro-batch as a CUDA graph.

The passes of a small network are hundreds of kernels of some microseconds each, and the GPU waits for the host, which
launches them one by one. A graph is captured once; its replay launches them all at once, on the same memory.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lineage.errors import UserError

# pixels (n, C, H, W), labels (n,), targets (n,) or (n, K) -> the mean loss and the number of right answers
Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

# Below so many multiply-adds of a micro-batch for each layer, the host needs longer to launch the layer than the GPU to
# compute it. A layer is 3.3 kernels, forward and backward (ResNet-20: 215 of 65 layers), of some 6 us on the host. A
# GPU that trains ResNet-50 at 3,000 images/s does 4.1e9 x 3 multiply-adds for each, 3.7e13 a second:
# 3.3 x 6e-6 s x 3.7e13 / 3 = 2.4e8. At batch 128 ResNet-20 has 8e7 a layer, ResNet-50 at 224 pixels 3e9.
LAUNCH_BOUND_MACS = 2.4e8


def is_launch_bound(network: nn.Module, macs: float, images: int) -> bool:
    """Whether a GPU would wait for the launches of a micro-batch.

    Args:
        macs: multiply-adds of one image.
    """
    layers = sum(next(module.children(), None) is None for module in network.modules())
    return macs * images < LAUNCH_BOUND_MACS * layers


def recomputes(network: nn.Module) -> bool:
    """Whether activations are computed again in the backward pass. That reads the state of the random number
    generator, which a capture does not allow."""
    flags = ("recomputed", "memory_efficient")  # of a Stage, and of DenseNet's layers
    return any(getattr(module, flag, False) for module in network.modules() for flag in flags)


class Recorder:
    """Captures CUDA graphs. They share their memory, so that the results of a replay last until the next one's."""

    def __init__(self) -> None:
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """The replay of `work`, and the tensors that each replay fills.

        Raises:
            UserError: `work` does what cannot be captured, such as reading a value on the host.
        """
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):  # cuDNN searches its kernels, and libraries allocate what they keep
                work()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        try:  # thread_local: other threads, which pin batches and watch NCCL, may go on
            with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
                results = work()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"trainer.graph: this network cannot be captured; set false. {reason}") from error
        return graph.replay, results


class MicroBatchGraphs:
    """Takes the place of a micro-batch's forward and backward pass, one graph for each shape of the images.

    Weights, statistics and gradients are the same as without graphs, bit for bit: a replay reads the seed that
    `reseed` has set. Gradients are copied to memory of their own within the graph. torch.cuda.make_graphed_callables
    would hand out the graph's own memory as .grad, which the next micro-batch's replay overwrites. Neither hooks of
    Lightning nor those of DDP are called.

    Args:
        loss: the forward pass.
    """

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        self.network, self.loss = network, loss
        self.parameters: list[nn.Parameter] = []  # those that the loss depends on
        self.gradients: list[Tensor] = []  # theirs, parts of `flat`
        self.flat = self.factor = torch.zeros(())
        self.recorder: Recorder | None = None
        self.graphs: dict[Any, Any] = {}  # (shape, first) -> inputs, replay, results

    def run(self, values: tuple[Tensor, Tensor, Tensor], factor: float, first: bool) -> tuple[Tensor, Tensor]:
        """Add the gradients of loss x factor to those of the step; the first micro-batch's replace the last step's.

        Args:
            values: pixels, labels and targets.

        Returns: what `loss` returns.
        """
        key = (values[0].shape, first)
        if key not in self.graphs:
            self.graphs[key] = self._capture(values, first)
        inputs, replay, (loss, correct) = self.graphs[key]
        for buffer, value in zip(inputs, values, strict=True):
            buffer.copy_(value)
        self.factor.fill_(factor)
        replay()
        return loss.clone(), correct.clone()  # the next replay overwrites them

    def finish_step(self) -> None:
        """Average the gradients over the devices, as DDP's hooks would have done, and give them to the optimiser."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(self.flat.div_(dist.get_world_size()))
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def _capture(self, values: tuple[Tensor, Tensor, Tensor], first: bool) -> tuple[list[Tensor], Any, Any]:
        """A graph and its inputs. What its passes change besides is set back: statistics, gradients, random state."""
        device = values[0].device
        if self.recorder is None:
            self.recorder, self.factor = Recorder(), torch.ones((), device=device)
        inputs = [value.clone() for value in values]
        changed = [*self.network.buffers(), *self.gradients]
        before = [tensor.clone() for tensor in changed]
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            replay, results = self.recorder(lambda: self._passes(inputs, first))
        for tensor, old in zip(changed, before, strict=True):
            tensor.copy_(old)
        return inputs, replay, results

    def _passes(self, inputs: list[Tensor], first: bool) -> tuple[Tensor, Tensor]:
        pixels, labels, targets = inputs
        loss, correct = self.loss(pixels, labels, targets)
        (loss * self.factor).backward()
        if not self.parameters:
            self._allocate()
        gradients: list[Any] = [parameter.grad for parameter in self.parameters]
        (torch._foreach_copy_ if first else torch._foreach_add_)(self.gradients, gradients)
        for parameter in self.parameters:
            parameter.grad = None  # its memory is the graph's
        return loss.detach(), correct

    def _allocate(self) -> None:
        """Memory for the gradients: one tensor, of which each has a part that begins at a multiple of 512 bytes, as if
        it were allocated alone, since kernels add up unaligned numbers in another order."""
        self.parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        sizes = [-(-parameter.numel() // 128) * 128 for parameter in self.parameters]
        self.flat = torch.zeros(sum(sizes), device=self.factor.device)
        pieces = zip(self.flat.split(sizes), self.parameters, strict=True)
        self.gradients = [piece.as_strided(p.shape, p.stride()) for piece, p in pieces]
