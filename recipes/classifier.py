"""The LightningModule: one call of training_step is one optimiser step of the recipe, in micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recipes.averaging import Average
from recipes.device_augmentation import DeviceAugmentation
from recipes.evaluation import Evaluator
from recipes.micro_batch import micro_batch_loss
from recipes.optimizers import build_optimizer
from recipes.randomness import reseed
from recipes.recipe import Recipe
from recipes.schedules import learning_rate
from user_error import UserError


class Diverged(UserError, ArithmeticError):
    """The loss is not a finite number any more."""


class Classifier(Evaluator):
    """Trains a network by a recipe.

    Optimisation is manual: a step loops over its micro-batches, sets the learning rate, a function of the step, and
    steps once. All that is random is reseeded from (seed, step, chunk), so a step is a function of the weights, the
    optimiser's state and its number.

    Args:
        augment: the device's part of the augmentation; also normalises for evaluation.
        steps_per_epoch: optimiser steps.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, augment: DeviceAugmentation, *, num_classes: int, seed: int,
        steps_per_epoch: int, channels_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(network, recipe, augment.normalise, num_classes=num_classes, channels_last=channels_last)
        self.automatic_optimization = False
        self.augment, self.seed, self.steps_per_epoch = augment, seed, steps_per_epoch
        # In a list, out of the module tree: Lightning, DDP and the optimiser shall see one network.
        self.averages = [Average(recipe, network)] if recipe.ema or recipe.swa else []
        self.epoch_sums = torch.zeros(3, dtype=torch.float64)  # loss, correct, images; of this rank, in this epoch
        self.train_metrics: dict[str, float] = {}
        self.last_loss: Tensor | None = None  # of the last step, on the device
        self.statistics: Tensor | None = None  # of a checkpoint, until training goes on

    @property
    def evaluated(self) -> nn.Module:
        return self.averages[0].network if self.averages else self.network

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.recipe, self.network)

    # ---- training

    def training_step(self, batches: Sequence[tuple[Tensor, Tensor, Tensor, int, float]], batch_index: int) -> None:
        """One optimiser step.

        Args:
            batches: this device's micro-batches: images, labels and origin (see micro_batch_loss); chunk, the number
                of the micro-batch among those of the step, over all devices; weight, its share of the step's mean
                loss, times the number of devices, so that the mean over devices is the mean over images.
        """
        recipe, step = self.recipe, self.global_step
        optimizer: Any = self.optimizers()
        rate = learning_rate(recipe, step, self.steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        grow: Any = getattr(self.network, "set_progress", None)  # NASNet's drop path, which grows over training
        if grow is not None:
            grow(step / (self.steps_per_epoch * recipe.epochs))

        total = torch.zeros((), device=self.device)
        for number, (images, labels, origin, chunk, weight) in enumerate(batches, start=1):
            reseed(self.device, self.seed, step, chunk)
            # DDP averages gradients during the last backward pass only.
            with nullcontext() if number == len(batches) else self.without_gradient_sync():
                found = micro_batch_loss(
                    self.network, recipe, self.augment, images, labels, origin, num_classes=self.num_classes,
                    seed=self.seed, step=step, memory_format=self.memory_format,
                )  # fmt: skip
                self.manual_backward(found.loss * weight)
            loss = found.loss.detach()
            total = total + loss * weight
            count = torch.full_like(found.correct, len(labels))
            self.epoch_sums += torch.stack((loss.double() * count, found.correct.double(), count))
        self._stop_if_diverged(total, step)

        optimizer.step()
        optimizer.zero_grad()
        for average in self.averages:
            average.after_step(self.network, step, self.steps_per_epoch)
        if self.trainer.is_last_batch:
            self._sum_up_epoch()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Lightning calls this once the gradients are true ones, those of fp16 too."""
        if self.recipe.grad_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.grad_clip)

    def without_gradient_sync(self) -> Any:
        model: Any = self.trainer.strategy.model
        return model.no_sync() if hasattr(model, "no_sync") else nullcontext()

    def _stop_if_diverged(self, loss: Tensor, step: int) -> None:
        """On a GPU look at the loss of the step before: it is there by now, and the queue stays full."""
        late = self.device.type == "cuda"
        looked_at, self.last_loss = (self.last_loss if late else loss), loss
        if looked_at is not None and not torch.isfinite(looked_at):
            raise Diverged(
                f"The loss is {float(looked_at)} at step {step - late + 1}: training has diverged. "
                "Try a lower recipe.lr, a warm-up (recipe.warmup_epochs) or recipe.grad_clip=1."
            )

    def step_loss(self) -> float:
        """The loss of the last step."""
        return float("nan") if self.last_loss is None else float(self.last_loss)

    def running_loss(self) -> float:
        """The mean loss of the epoch so far; at its start, of the one before."""
        loss, _, count = self.epoch_sums.tolist()
        return loss / count if count else self.train_metrics.get("train_loss", float("nan"))

    # ---- the end of an epoch

    def _sum_up_epoch(self) -> None:
        loss, correct, count = self.trainer.strategy.reduce(self.epoch_sums, reduce_op="sum").tolist()
        self.train_metrics = {"train_loss": loss / count}
        if not (self.recipe.mixup_alpha or self.recipe.cutmix_alpha):  # of mixed images it would mean nothing
            self.train_metrics["train_top1"] = correct / count
        self.epoch_sums.zero_()

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_metrics, logger=False)  # for callbacks; running/rows.py hands them to the loggers

    def on_validation_start(self) -> None:
        self._averages_to_device()
        self._average_statistics()

    def on_test_start(self) -> None:
        self._averages_to_device()

    # ---- stopping and going on

    def on_fit_start(self) -> None:
        self._averages_to_device()
        self.epoch_sums = self.epoch_sums.to(self.device)

    def on_train_start(self) -> None:
        """Give each device its own statistics back, if as many devices as before go on."""
        rows, self.statistics = self.statistics, None
        if rows is not None and len(rows) == self.trainer.world_size:
            values = rows[self.trainer.global_rank].to(self.device)
            for buffer in self._statistics():
                buffer.copy_(values[: buffer.numel()].view_as(buffer))
                values = values[buffer.numel() :]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.last_loss is not None and not torch.isfinite(self.last_loss):
            raise Diverged("The loss is not finite any more: training has diverged, and is not saved.")
        checkpoint["epoch_sums"] = self.trainer.strategy.reduce(self.epoch_sums.clone(), reduce_op="sum").cpu()
        checkpoint["train_metrics"] = self.train_metrics
        checkpoint["averages"] = [average.state_dict() for average in self.averages]
        checkpoint["stopped_early"] = bool(self.trainer.should_stop)
        if self.trainer.world_size > 1:  # within an epoch every device has its own; state_dict is the first's
            mine = torch.cat([buffer.flatten() for buffer in self._statistics()] or [self.epoch_sums[:0]])
            of_all = [torch.empty_like(mine) for _ in range(self.trainer.world_size)]
            dist.all_gather(of_all, mine)
            checkpoint["statistics"] = torch.stack(of_all).cpu()  # (devices, values)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        first = self.trainer.is_global_zero  # the sums of all ranks go on in the first
        self.epoch_sums = checkpoint["epoch_sums"] * first
        self.train_metrics, self.statistics = checkpoint["train_metrics"], checkpoint.get("statistics")
        for average, state in zip(self.averages, checkpoint["averages"], strict=True):
            average.load_state_dict(state)
        if checkpoint["stopped_early"]:
            self.trainer.should_stop = True

    def _average_statistics(self) -> None:
        """Each device has its own BN statistics: average them before they are used (timm's "dist-bn reduce")."""
        if self.trainer.world_size > 1:
            for buffer in self._statistics():
                buffer.copy_(self.trainer.strategy.reduce(buffer, reduce_op="mean"))

    def _statistics(self) -> list[Tensor]:
        networks = [self.network, *(average.network for average in self.averages)]
        return [b for network in networks for b in network.buffers() if b.is_floating_point()]

    def _averages_to_device(self) -> None:
        for average in self.averages:
            average.network.to(self.device)
