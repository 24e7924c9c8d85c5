"""The LightningModule: one call of training_step is one optimiser step of the recipe, in micro-batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lineage.recipes.augment.device import DeviceAugmentation
from lineage.recipes.augment.randomness import reseed
from lineage.recipes.distillation import Teacher
from lineage.recipes.divergence import LossWatch
from lineage.recipes.evaluation import Evaluator
from lineage.recipes.micro_batch import MicroBatchKey, micro_batch_loss
from lineage.recipes.optim.averaging import Average
from lineage.recipes.optim.batch_norm_statistics import AccumulatedBatchNorm
from lineage.recipes.optim.finetuning import prepare_finetuning
from lineage.recipes.optim.lookahead import Lookahead
from lineage.recipes.optim.optimizers import build_optimizer
from lineage.recipes.optim.schedules import Plateau, learning_rate
from lineage.recipes.recipe import Recipe
from lineage.recipes.resuming import Resumable


class Classifier(Resumable, Evaluator):
    """Trains a network by a recipe.

    Optimisation is manual: a step loops over its micro-batches, sets the learning rate, a function of the step, and
    steps once. All that is random is reseeded from (seed, step, chunk), so a step is a function of the weights, the
    optimiser's state and its number.

    Args:
        augment: the device's part of the augmentation; also normalises for evaluation.
        steps_per_epoch: optimiser steps.
        teacher: of a distillation, in evaluation mode.
    """

    stages = ("val", "val_raw", "test")

    def __init__(
        self, network: nn.Module, recipe: Recipe, augment: DeviceAugmentation, *, num_classes: int, seed: int,
        steps_per_epoch: int, channels_last: bool = False, exact: bool = True, teacher: Teacher | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            network, recipe, augment.normalise, num_classes=num_classes, channels_last=channels_last, exact=exact
        )
        self.automatic_optimization = False
        self.augment, self.seed, self.steps_per_epoch = augment, seed, steps_per_epoch
        self.total_steps = steps_per_epoch * recipe.total_epochs
        if recipe.finetune:
            prepare_finetuning(network)
        self.modes = [module.training for module in network.modules()]  # evaluation, what is frozen
        # In lists, out of the module tree: Lightning, DDP and the optimiser shall see one network.
        self.averages = [Average(recipe, network)] if recipe.ema or recipe.swa else []
        self.teachers = [teacher] if teacher is not None else []
        self.lookaheads = [Lookahead(recipe, network)] if recipe.lookahead else []
        self.plateau = Plateau(recipe)
        self.moves = AccumulatedBatchNorm(network)
        self.watch = LossWatch()
        self.epoch_sums = torch.zeros(3, dtype=self.sum_dtype)  # loss, correct, images; of this rank, in this epoch
        self.train_metrics: dict[str, float] = {}

    def evaluated_networks(self, stage: str) -> Mapping[str, nn.Module]:
        """The average counts, if there is one; in validation the trained weights are shown beside it."""
        if not self.averages:
            return {stage: self.network}
        average = {stage: self.averages[0].network}
        return {**average, "val_raw": self.network} if stage == "val" else average

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.recipe, self.network)

    # ---- training

    def training_step(self, batches: Sequence[tuple[Tensor, Tensor, Tensor, int, float]], batch_index: int) -> None:
        """One optimiser step.

        Args:
            batches: this device's micro-batches: images, labels and sample_keys (see micro_batch_loss); chunk, the
                number of the micro-batch among those of the step, over all devices; weight, its share of the step's
                mean loss, times the number of devices, so that the mean over devices is the mean over images.
        """
        recipe, step = self.recipe, self.global_step
        optimizer: Any = self.optimizers()
        self._set_rates(optimizer, step)
        share = step / self.total_steps
        grow: Any = getattr(self.network, "set_progress", None)  # NASNet's drop path, which grows over training
        if grow is not None:
            grow(share)

        total = torch.zeros((), device=self.device)
        for index, (images, labels, sample_keys, chunk, weight) in enumerate(batches):
            reseed(self.device, self.seed, step, chunk)
            # DDP averages gradients during the last backward pass only.
            alone = nullcontext() if index == len(batches) - 1 else self.without_gradient_sync()
            with alone, self.moves.micro_batch(index, len(batches)):
                found = micro_batch_loss(
                    self.network, recipe, self.augment, images, labels, sample_keys, num_classes=self.num_classes,
                    key=MicroBatchKey(self.seed, step, chunk), memory_format=self.memory_format,
                    teacher=self.teachers[0] if self.teachers else None,
                )  # fmt: skip
                images_of_step = len(labels) * self.trainer.world_size / weight
                self.manual_backward(found.loss * (weight * images_of_step if recipe.loss_sum else weight))
            loss = found.loss.detach()
            total = total + loss * weight
            count = torch.full_like(found.correct, len(labels))
            self.epoch_sums += torch.stack((loss.to(self.sum_dtype) * count, found.correct.to(self.sum_dtype), count))
        self.watch.after_step(total, step)

        self._leave_at_rest(share)
        optimizer.step()
        optimizer.zero_grad()
        self._set_rates(optimizer, step + 1)  # for who looks before the next step does, as LearningRateMonitor
        for lookahead in self.lookaheads:  # part of the optimiser, as in timm: an average is of what it leaves
            lookahead.after_step(self.network, step, self.total_steps)
        for average in self.averages:
            average.after_step(self.network, step, self.steps_per_epoch)
        self.statistics_are_stale = True
        if self.trainer.is_last_batch:
            self._sum_up_epoch()

    def on_train_start(self) -> None:
        super().on_train_start()
        optimizer: Any = self.optimizers()
        self._set_rates(optimizer, self.global_step)

    def _set_rates(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        step = min(step, self.total_steps - 1)
        rate = learning_rate(self.recipe, step, self.steps_per_epoch, self.plateau.decays)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)

    def _leave_at_rest(self, share: float) -> None:
        """What has no gradient neither decay nor momentum moves; DDP wants one of all, so nothing is frozen for it."""
        at_rest: Any = getattr(self.network, "parameters_at_rest", None)  # the bias of airbench's whitening
        for parameter in at_rest(share) if at_rest is not None else ():
            parameter.grad = None

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Lightning calls this once the gradients are true ones, those of fp16 too."""
        if self.recipe.grad_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.grad_clip)

    def without_gradient_sync(self) -> Any:
        model: Any = self.trainer.strategy.model
        return model.no_sync() if hasattr(model, "no_sync") else nullcontext()

    def step_loss(self) -> float:
        """The loss of the last step."""
        return float("nan") if self.watch.last is None else float(self.watch.last)

    def running_loss(self) -> float:
        """The mean loss of the epoch so far; at its start, of the one before."""
        loss, _, count = self.epoch_sums.tolist()
        return loss / count if count else self.train_metrics.get("train_loss", float("nan"))

    # ---- the end of an epoch

    def _sum_up_epoch(self) -> None:
        loss, correct, count = self.trainer.strategy.reduce(self.epoch_sums, reduce_op="sum").tolist()
        self.train_metrics = {"train_loss": loss / count}
        if not self.recipe.mixes:  # of mixed images it would mean nothing
            self.train_metrics["train_top1"] = correct / count
        self.epoch_sums.zero_()
        # For callbacks that look at the end of validation, which comes before on_train_epoch_end:
        self.trainer.callback_metrics.update({name: torch.tensor(v) for name, v in self.train_metrics.items()})

    def on_train_epoch_end(self) -> None:
        self.log_dict(
            self.train_metrics, logger=False
        )  # for callbacks; lineage/reporting/metric_rows.py hands them to the loggers
        if self.trainer.current_epoch + 1 == self.recipe.total_epochs:
            self.refresh_statistics()  # where no validation has done it

    def on_validation_start(self) -> None:
        self.refresh_statistics()

    def on_validation_epoch_end(self) -> None:
        found = self._log_metrics("val")
        if self.recipe.schedule == "plateau":
            self.plateau.after_epoch(float(found["val_top1"]))
            self.trainer.should_stop = self.trainer.should_stop or self.plateau.ended
