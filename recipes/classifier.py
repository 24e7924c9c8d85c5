"""The LightningModule. One call of `training_step` takes one optimiser step of the recipe, in micro-batches."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lineage.recipes.augment.randomness import reseed
from lineage.recipes.graph import MicroBatchGraphs
from lineage.recipes.micro_batch import MicroBatchKey, micro_batch_input, micro_batch_loss
from lineage.recipes.optim.optimizers import build_optimizer
from lineage.recipes.optim.schedules import learning_rate, whiten_bias_rate
from lineage.recipes.resuming import TrainingState


class Classifier(TrainingState):
    """Trains a network by a recipe.

    Optimisation is manual: a step adds up the gradients of its micro-batches. The learning rate is a function of the
    step, and all random numbers are reseeded from (seed, step, chunk). So a step depends only on the weights, the
    optimiser's state and its own number. The arguments are those of TrainingState.
    """

    captures = False  # whether a micro-batch's passes are a CUDA graph
    graphs: MicroBatchGraphs | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.recipe, self.network)

    def training_step(self, batches: Any, batch_index: int) -> None:
        """Take one optimiser step.

        Args:
            batches: this device's micro-batches of the step, each of which may be made when it is asked for: images,
                labels and sample keys (see micro_batch_input); chunk, the number of the micro-batch within the step,
                over all devices; weight, its share of the step's mean loss, times the number of devices, over which
                DDP averages gradients.
        """
        optimizer: Any = self.optimizers()
        step, network = self.global_step, self.network
        self._set_learning_rate(step)
        if hasattr(network, "set_progress"):
            network.set_progress(step / self.total_steps)  # NASNet's drop path grows over training

        loss = self._accumulate_gradients(batches, step)
        self.loss_monitor.after_step(loss, self.epoch_sums, step)
        optimizer.step()
        optimizer.zero_grad()
        self._set_learning_rate(step + 1)  # for callbacks that read it between steps, as LearningRateMonitor does

        for lookahead in self.lookaheads:  # a part of the optimiser, as in timm: averages follow its result
            lookahead.after_step(network, step, self.total_steps)
        for average in self.averages:
            average.after_step(network, step, self.steps_per_epoch)
        self.statistics_are_stale = True
        if self.trainer.is_last_batch:
            self._compute_train_metrics()

    def _accumulate_gradients(self, batches: Any, step: int) -> Tensor:
        """The forward and backward pass of each micro-batch; returns this device's share of the step's mean loss."""
        shares: list[Tensor] = []
        count, no_sync = 0, getattr(self.trainer.strategy.model, "no_sync", nullcontext)
        for index, (images, labels, sample_keys, chunk, weight) in enumerate(batches):
            reseed(self.device, self.seed, step, chunk)
            last = index == len(batches) - 1  # DDP averages the gradients of all passes during the last one
            with nullcontext() if last else no_sync(), self.batch_norm.micro_batch(index, len(batches)):
                pixels, targets = micro_batch_input(
                    self.recipe, self.augment, images, labels, sample_keys, num_classes=self.num_classes,
                    epoch=self.current_epoch, key=MicroBatchKey(self.seed, step, chunk),
                    memory_format=self.memory_format,
                )  # fmt: skip
                images_of_step = len(labels) * self.trainer.world_size / weight
                factor = weight * images_of_step if self.recipe.loss_sum else weight
                if self.graphs is None:
                    loss, correct = self.forward_pass(pixels, labels, targets)
                    self.manual_backward(loss if factor == 1 else loss * factor)
                else:
                    loss, correct = self.graphs.run((pixels, labels, targets), factor, first=index == 0)
            loss = loss.detach()
            shares.append(loss if weight == 1 else loss * weight)
            self.epoch_sums[0].add_(loss, alpha=len(labels))
            self.epoch_sums[1].add_(correct)
            count += len(labels)
        if self.graphs is not None:
            self.graphs.finish_step()
        self.epoch_sums[2].add_(count)
        return sum(shares[1:], shares[0])

    def forward_pass(self, pixels: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and number of right answers: see micro_batch_loss."""
        teacher = self.teachers[0] if self.teachers else None
        return micro_batch_loss(self.network, self.recipe, teacher, pixels, labels, targets, self.class_weights)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip gradients: here Lightning has undone the scale of fp16."""
        if self.recipe.grad_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.grad_clip)

    def on_train_start(self) -> None:
        super().on_train_start()
        self._set_learning_rate(self.global_step)
        self.graphs = MicroBatchGraphs(self.network, self.forward_pass) if self.captures else None

    def on_train_end(self) -> None:
        self.graphs = None  # Lightning moves the weights, which the graphs have where they were

    def _set_learning_rate(self, step: int) -> None:
        step = min(step, self.total_steps - 1)
        rate = learning_rate(self.recipe, step, self.steps_per_epoch, self.plateau.decays)
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            own = whiten_bias_rate(self.recipe, step, self.steps_per_epoch, rate) if group.get("whiten_bias") else rate
            group["lr"] = own * group.get("lr_scale", 1.0)

    def step_loss(self) -> float:
        """The loss of the last step."""
        return float("nan") if self.loss_monitor.last is None else float(self.loss_monitor.last)

    def running_loss(self) -> float:
        """The mean loss of the epoch so far, on a GPU up to a step that it has finished; before its first step, of the
        previous epoch."""
        loss, _, count = self.loss_monitor.sums
        return loss / count if count else self.train_metrics.get("train_loss", float("nan"))

    def _compute_train_metrics(self) -> None:
        loss, correct, count = self.trainer.strategy.reduce(self.epoch_sums, reduce_op="sum").tolist()
        self.train_metrics = {"train_loss": loss / count}
        if not self.recipe.mixes:  # a mixed image has no single right class
            self.train_metrics["train_top1"] = correct / count
        self.epoch_sums.zero_()
        self.loss_monitor.sums = [0.0, 0.0, 0.0]
        # For callbacks that look at the end of validation, which comes before on_train_epoch_end:
        self.trainer.callback_metrics.update({name: torch.tensor(v) for name, v in self.train_metrics.items()})

    def on_train_epoch_end(self) -> None:
        # For callbacks; lineage/reporting/metric_rows.py hands the metrics to the loggers.
        self.log_dict(self.train_metrics, logger=False)
        if self.trainer.current_epoch + 1 == self.recipe.total_epochs:
            self.refresh_statistics()  # in case there was no validation

    def evaluated_networks(self, stage: str) -> Mapping[str, nn.Module]:
        """The average, if there is one; validation looks at the trained weights too."""
        if not self.averages:
            return {stage: self.network}
        average = {stage: self.averages[0].network}
        return {**average, "val_raw": self.network} if stage == "val" else average

    def on_validation_start(self) -> None:
        self.refresh_statistics()

    def on_validation_epoch_end(self) -> None:
        metrics = self._log_metrics("val")
        if self.recipe.schedule == "plateau":
            self.plateau.after_epoch(float(metrics["val_top1"]))
            self.trainer.should_stop = self.trainer.should_stop or self.plateau.ended
