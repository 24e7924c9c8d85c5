"""The LightningModule: one call of training_step is one optimiser step of the recipe, in micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from recipes.augmentation import Augmentation
from recipes.averaging import Average
from recipes.losses import evaluation_loss, training_loss
from recipes.mixing import draw_mix, mix_images, soft_targets
from recipes.optimizers import build_optimizer
from recipes.randomness import reseed
from recipes.recipe import Recipe
from recipes.schedules import learning_rate


class Diverged(ArithmeticError):
    """The loss is not a finite number any more."""


class MicroBatch(Protocol):
    """What one forward and backward pass sees: the share of a step for one device.

    images: (n, C, H, W) uint8; labels: (n,) int64; origin: (n, 3) int64, the epoch, sample and repetition of each
    image; chunk: the number of this micro-batch among those of the step, over all devices; weight: its share of the
    step's mean loss, times the number of devices, so that the mean over devices is the mean over images.
    """

    images: Tensor
    labels: Tensor
    origin: Tensor
    chunk: int
    weight: float


class Classifier(pl.LightningModule):
    """Trains a network by a recipe.

    Optimisation is manual: a step loops over its micro-batches, sets the learning rate, a function of the step, and
    steps once. All that is random is reseeded from (seed, step, chunk), so a step is a function of the weights, the
    optimiser's state and its number.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        augmentation: Augmentation,
        *,
        num_classes: int,
        seed: int,
        steps_per_epoch: int,
        channels_last: bool = False,
        log_every_n_steps: int = 50,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.recipe, self.augmentation = network, recipe, augmentation
        self.num_classes, self.seed = num_classes, seed
        self.steps_per_epoch, self.log_every_n_steps = steps_per_epoch, log_every_n_steps
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # In a list, out of the module tree: Lightning, DDP and the optimiser shall see one network.
        self.averages = [Average(recipe, network)] if recipe.ema or recipe.swa else []
        self.epoch_sums = torch.zeros(3, dtype=torch.float64)  # loss, correct, images; of this rank, in this epoch
        self.train_metrics: dict[str, float] = {}
        self.metrics = nn.ModuleDict({"val": _metrics(num_classes), "test": _metrics(num_classes)})
        self.previous_loss: Tensor | None = None
        self.statistics: Tensor | None = None  # of a checkpoint, until training goes on

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.recipe, self.network)

    # ---- training

    def on_fit_start(self) -> None:
        self._to_device()
        self.epoch_sums = self.epoch_sums.to(self.device)

    def training_step(self, batches: Sequence[MicroBatch], batch_index: int) -> None:
        recipe, step = self.recipe, self.global_step
        optimizer: Any = self.optimizers()
        rate = learning_rate(recipe, step, self.steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate

        grow: Any = getattr(self.network, "set_progress", None)  # NASNet's drop path, which grows over training
        if grow is not None:
            grow(step / (self.steps_per_epoch * recipe.epochs))
        total = torch.zeros((), device=self.device)
        for batch in batches:
            # DDP averages gradients during the last backward pass only.
            wait = nullcontext() if batch is batches[-1] else self.without_gradient_sync()
            with wait:
                loss = self.micro_batch_loss(batch, step) * batch.weight
                self.manual_backward(loss)
            total = total + loss.detach()
        self._stop_if_diverged(total, step)

        self.clip_gradients_of(optimizer)
        optimizer.step()
        optimizer.zero_grad()
        for average in self.averages:
            average.after_step(self.network, step, self.steps_per_epoch)
        if (step + 1) % self.log_every_n_steps == 0:
            for logger in self.loggers:
                logger.log_metrics({"step_loss": float(total), "lr": rate}, step + 1)

    def micro_batch_loss(self, batch: MicroBatch, step: int) -> Tensor:
        """The mean loss of a micro-batch, augmented and mixed; keeps the epoch's sums."""
        recipe = self.recipe
        reseed(self.device, self.seed, step, batch.chunk)
        with torch.autocast(self.device.type, enabled=False):
            images = self.augmentation.on_device(batch.images, batch.origin)
            mix = draw_mix(recipe, images.shape[2], images.shape[3], self.seed, step)
            if mix is not None:
                images = mix_images(images, mix)
            images = images.contiguous(memory_format=self.memory_format)
        targets = batch.labels
        if mix is not None or recipe.loss == "bce":
            targets = soft_targets(batch.labels, self.num_classes, recipe.label_smoothing, mix)

        output = self.network(images)
        with torch.autocast(self.device.type, enabled=False):
            loss = training_loss(recipe, output, targets, getattr(self.network, "aux_weights", ()))
        logits = output if isinstance(output, Tensor) else output[0]
        with torch.no_grad():
            correct = (logits.argmax(dim=1) == batch.labels).sum()
            count = len(batch.labels)
            self.epoch_sums += torch.stack((loss.double() * count, correct.double(), torch.full_like(correct, count)))
        return loss

    def clip_gradients_of(self, optimizer: Any) -> None:
        if self.recipe.grad_clip:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None:  # fp16: the bound is on the true gradients
                scaler.unscale_(optimizer.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.grad_clip)

    def without_gradient_sync(self) -> Any:
        model: Any = self.trainer.strategy.model
        return model.no_sync() if hasattr(model, "no_sync") else nullcontext()

    def _stop_if_diverged(self, loss: Tensor, step: int) -> None:
        """On a GPU look at the loss of the step before: it is there by now, and the queue stays full."""
        late = self.device.type == "cuda"
        looked_at, self.previous_loss = (self.previous_loss if late else loss), loss
        if looked_at is not None and not torch.isfinite(looked_at):
            raise Diverged(
                f"The loss is {float(looked_at)} at step {step - late + 1}: training has diverged. "
                "Try a lower recipe.lr, a warm-up (recipe.warmup_epochs) or recipe.grad_clip=1."
            )

    # ---- the end of an epoch

    def on_validation_start(self) -> None:
        self._to_device()
        self._average_statistics()

    def on_train_epoch_end(self) -> None:
        loss, correct, count = self.trainer.strategy.reduce(self.epoch_sums, reduce_op="sum").tolist()
        self.train_metrics = {"train_loss": loss / count}
        if not (self.recipe.mixup_alpha or self.recipe.cutmix_alpha):  # of mixed images it would mean nothing
            self.train_metrics["train_top1"] = correct / count
        self.log_dict(self.train_metrics, logger=False)
        self.epoch_sums.zero_()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.previous_loss is not None and not torch.isfinite(self.previous_loss):
            raise Diverged("The loss is not finite any more: training has diverged, and is not saved.")
        checkpoint["epoch_sums"] = self.trainer.strategy.reduce(self.epoch_sums.clone(), reduce_op="sum").cpu()
        checkpoint["averages"] = [average.state_dict() for average in self.averages]
        if self.trainer.world_size > 1:  # within an epoch every device has its own; state_dict is the first's
            mine = torch.cat([buffer.flatten() for buffer in self._statistics()] or [self.epoch_sums[:0]])
            checkpoint["statistics"] = self.trainer.strategy.all_gather(mine).cpu()  # (devices, values)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        first = self.trainer.is_global_zero  # the sums of all ranks go on in the first
        self.epoch_sums = checkpoint["epoch_sums"] * first
        self.statistics = checkpoint.get("statistics")
        for average, state in zip(self.averages, checkpoint["averages"], strict=True):
            average.load_state_dict(state)

    def on_train_start(self) -> None:
        """Give each device its own statistics back, if as many devices as before go on."""
        rows, self.statistics = self.statistics, None
        if rows is not None and len(rows) == self.trainer.world_size:
            values = rows[self.trainer.global_rank].to(self.device)
            for buffer in self._statistics():
                buffer.copy_(values[: buffer.numel()].view_as(buffer))
                values = values[buffer.numel() :]

    def _average_statistics(self) -> None:
        """Each device has its own BN statistics: average them before they are used (timm's "dist-bn reduce")."""
        if self.trainer.world_size > 1:
            for buffer in self._statistics():
                buffer.copy_(self.trainer.strategy.reduce(buffer, reduce_op="mean"))

    def _statistics(self) -> list[Tensor]:
        networks = [self.network, *(average.network for average in self.averages)]
        return [b for network in networks for b in network.buffers() if b.is_floating_point()]

    # ---- validation and test

    def validation_step(self, batch: MicroBatch, batch_index: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: MicroBatch, batch_index: int) -> None:
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_start(self) -> None:
        self._to_device()

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, batch: MicroBatch, stage: str) -> None:
        if not len(batch.labels):  # a rank without images, so that all make as many calls
            return
        with torch.autocast(self.device.type, enabled=False):
            images = self.augmentation.normalise(batch.images).contiguous(memory_format=self.memory_format)
        network = self.averages[0].network if self.averages else self.network
        logits = network(images)
        with torch.autocast(self.device.type, enabled=False):
            losses = evaluation_loss(self.recipe, logits.float(), batch.labels)
        for name, metric in self._metrics_of(stage):
            metric.update(*((losses.double(),) if name == "loss" else (logits, batch.labels)))

    def _metrics_of(self, stage: str) -> Iterator[tuple[str, Metric]]:
        for name, metric in cast(nn.ModuleDict, self.metrics[stage]).items():
            yield name, cast(Metric, metric)

    def _log_metrics(self, stage: str) -> None:
        found = {f"{stage}_{name}": metric.compute() for name, metric in self._metrics_of(stage)}
        self.log_dict(found, logger=False)  # for callbacks; running/progress.py hands them to the loggers
        for _, metric in self._metrics_of(stage):
            metric.reset()

    def _to_device(self) -> None:
        self.augmentation.to(self.device)
        for average in self.averages:
            average.network.to(self.device)


def _metrics(num_classes: int) -> nn.ModuleDict:
    """Exact over devices: torchmetrics adds up the counts of all."""

    def accuracy(k: int) -> Metric:
        return MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro", validate_args=False)

    return nn.ModuleDict({"top1": accuracy(1), "top5": accuracy(5), "loss": MeanMetric().set_dtype(torch.float64)})
