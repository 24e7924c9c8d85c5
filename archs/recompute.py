"""Less memory for more time: a backward pass that runs a part of the network again, where the forward kept nothing.

Source: Chen et al. 2016, arXiv 1604.06174. Results are the same, bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(run: Callable[..., Any], *inputs: Any) -> Any:
    """`run(*inputs)`, of which the graph keeps the inputs only; the backward pass runs it again.

    Dropout and stochastic depth draw the same again; batch normalisation moves its running statistics once.

    Args:
        run: a module, or a method of one.
    """
    module = run if isinstance(run, nn.Module) else getattr(run, "__self__")  # noqa: B009  # of a method
    if torch.compiler.is_compiling():  # a compiled graph takes no contexts, and updates the statistics once
        return checkpoint(run, *inputs, use_reentrant=False)
    # The contexts of the forward pass and of its repetition.
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_kept(module)))


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch normalisation as in training, of momentum 0: its running mean and variance stay as they are."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
