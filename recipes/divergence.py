"""End a run whose loss is not finite, without making the host wait for the GPU."""

import torch
from torch import Tensor

from lineage.errors import UserError


class Diverged(UserError, ArithmeticError):
    """The loss is no longer a finite number."""


class LossMonitor:
    """Checks the loss of each step. On a GPU it checks a copy that is sent to the host while later steps are queued."""

    def __init__(self) -> None:
        self.last: Tensor | None = None  # the loss of the last step, on the device
        self.pending: tuple[Tensor, torch.cuda.Event, int] | None = None  # a copy, its arrival, its step

    def after_step(self, loss: Tensor, step: int) -> None:
        """Raise Diverged if the loss of this step, or of an earlier one, is not finite."""
        self.last = loss
        if loss.device.type != "cuda":
            return _check(loss, step)
        if self.pending is not None:
            copy, arrival, copied_step = self.pending
            if not arrival.query():
                return
            _check(copy, copied_step)
        copy = torch.empty((), dtype=loss.dtype, pin_memory=True)
        copy.copy_(loss, non_blocking=True)
        arrival = torch.cuda.Event()
        arrival.record()
        self.pending = (copy, arrival, step)

    def check_last(self) -> None:
        """Raise Diverged if the loss of the last step is not finite. Waits for the device."""
        if self.last is not None and not torch.isfinite(self.last):
            raise Diverged("The loss is no longer finite: training has diverged, and is not saved.")


def _check(loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise Diverged(
            f"The loss is {float(loss)} at step {step + 1}: training has diverged. "
            "Try a lower recipe.lr, a warm-up (recipe.warmup_epochs) or recipe.grad_clip=1."
        )
