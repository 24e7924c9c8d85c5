"""Look at the loss of a run, and end it where that is not finite, without making the host wait for the GPU."""

import math

import torch
from torch import Tensor

from lineage.errors import UserError


class Diverged(UserError, ArithmeticError):
    """The loss is no longer a finite number."""


class LossMonitor:
    """Looks at the loss after each step; on a GPU at a copy that is sent to the host while later steps are queued."""

    def __init__(self) -> None:
        self.last: Tensor | None = None  # the loss of the last step, on the device
        self.sums = [0.0, 0.0, 0.0]  # the epoch's of loss, correct and images, as far as the host has them
        self.pending: tuple[Tensor, torch.cuda.Event, int] | None = None  # a copy, its arrival, its step

    def after_step(self, loss: Tensor, sums: Tensor, step: int) -> None:
        """Raise Diverged if the loss of this step, or of an earlier one, is not finite.

        Args:
            sums: (3,), the epoch's of loss, correct and images; they stay infinite once a loss is.
        """
        self.last = loss
        if sums.device.type != "cuda":
            return self._look(sums, step)
        if self.pending is not None:
            copy, arrival, copied_step = self.pending
            if not arrival.query():
                return
            self._look(copy, copied_step)
        copy = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
        copy.copy_(sums, non_blocking=True)
        arrival = torch.cuda.Event()
        arrival.record()
        self.pending = (copy, arrival, step)

    def _look(self, sums: Tensor, step: int) -> None:
        self.sums = sums.tolist()
        if not math.isfinite(self.sums[0]):
            raise Diverged(
                f"The loss is {self.sums[0]} at step {step + 1}: training has diverged. "
                "Try a lower recipe.lr, a warm-up (recipe.warmup_epochs) or recipe.grad_clip=1."
            )

    def check_last(self) -> None:
        """Raise Diverged if the loss of the last step is not finite. Waits for the device."""
        if self.last is not None and not torch.isfinite(self.last):
            raise Diverged("The loss is no longer finite: training has diverged, and is not saved.")
