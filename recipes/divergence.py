"""A loss that is no finite number ends a run, without making the GPU wait to be asked."""

from __future__ import annotations

import torch
from torch import Tensor

from lineage.errors import UserError


class Diverged(UserError, ArithmeticError):
    """The loss is not a finite number any more."""


class LossWatch:
    """Looks at the loss of each step. On a GPU a copy of it is under way to the host while the next steps are queued,
    and is looked at once it is there; nothing waits for it."""

    def __init__(self) -> None:
        self.last: Tensor | None = None  # of the last step, on the device
        self.on_its_way: tuple[Tensor, torch.cuda.Event, int] | None = None

    def after_step(self, loss: Tensor, step: int) -> None:
        """Raise Diverged if a loss of this step, or of one before, is not finite."""
        self.last = loss
        if loss.device.type != "cuda":
            return self._raise_unless_finite(loss, step)
        if self.on_its_way is not None:
            copy, arrived, of_step = self.on_its_way
            if not arrived.query():
                return
            self._raise_unless_finite(copy, of_step)
        copy = torch.empty((), dtype=loss.dtype, pin_memory=True)
        copy.copy_(loss, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self.on_its_way = (copy, arrived, step)

    def check_last(self) -> None:
        """Raise Diverged if the last step's loss is not finite; waits for it."""
        if self.last is not None and not torch.isfinite(self.last):
            raise Diverged("The loss is not finite any more: training has diverged, and is not saved.")

    @staticmethod
    def _raise_unless_finite(loss: Tensor, step: int) -> None:
        if not torch.isfinite(loss):
            raise Diverged(
                f"The loss is {float(loss)} at step {step + 1}: training has diverged. "
                "Try a lower recipe.lr, a warm-up (recipe.warmup_epochs) or recipe.grad_clip=1."
            )
