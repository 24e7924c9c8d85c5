"""The state of a training beside weights and optimiser: how it is built, moved to a device, saved and resumed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lineage.recipes.augment.device import DeviceAugmentation
from lineage.recipes.augment.randomness import reseed
from lineage.recipes.distillation import Teacher
from lineage.recipes.divergence import LossMonitor
from lineage.recipes.evaluation import Evaluator
from lineage.recipes.optim.averaging import Average, Lookahead
from lineage.recipes.optim.batch_norm_statistics import AccumulatedBatchNorm, batch_norms, recompute
from lineage.recipes.optim.optimizers import prepare_finetuning
from lineage.recipes.optim.schedules import Plateau
from lineage.recipes.recipe import Recipe, RecipeError

# (number of images, 0 for all; the epoch whose augmentation they get, or None for that of a test) -> micro-batches
TrainingImages = Callable[[int, int | None], Iterator[Any]]


class TrainingState(Evaluator):
    """What a Classifier holds.

    Args:
        augment: the augmentation on the device, with the normalisation that evaluation uses too.
        training_images: for the statistics of batch norm, and for networks that start from data.
        from_scratch: whether the network has random weights.
        teacher: the network that a distillation learns from.
        class_weights: (K,), of an image's loss; None: all are 1.
    """

    class_weights: Tensor | None
    statistics_are_stale = False  # whether a step was taken since they were computed
    saved_statistics: Tensor | None = None  # of each device; kept from loading until training starts

    def __init__(
        self, network: nn.Module, recipe: Recipe, augment: DeviceAugmentation, training_images: TrainingImages, *,
        num_classes: int, seed: int, steps_per_epoch: int, from_scratch: bool, channels_last: bool, exact: bool,
        teacher: Teacher | None, class_weights: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            network, recipe, augment.normalise, num_classes=num_classes, channels_last=channels_last, exact=exact
        )
        self.automatic_optimization = False
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.augment, self.training_images = augment, training_images
        self.seed, self.steps_per_epoch, self.from_scratch = seed, steps_per_epoch, from_scratch
        self.total_steps = steps_per_epoch * recipe.total_epochs
        if recipe.finetune:
            prepare_finetuning(network)
        self.training_modes = [module.training for module in network.modules()]  # a frozen module is in evaluation mode
        # None or one of each. In lists, so that Lightning, DDP and the optimiser find one network only.
        self.averages = [Average(recipe, network)] if recipe.ema or recipe.swa else []
        self.teachers = [teacher] if teacher is not None else []
        self.lookaheads = [Lookahead(recipe, network)] if recipe.lookahead else []
        self.plateau = Plateau(recipe)
        self.loss_monitor = LossMonitor()
        self.epoch_sums = torch.zeros(3, dtype=self.sum_dtype)  # loss, correct, images: this device, this epoch
        self.train_metrics: dict[str, float] = {}

    def on_fit_start(self) -> None:
        self.batch_norm = AccumulatedBatchNorm(self.network)  # here, since Lightning puts SyncBatchNorm in their place
        self.epoch_sums = self.epoch_sums.to(self.device)
        self.on_test_start()

    def on_test_start(self) -> None:
        parts: list[Any] = [*self.averages, *self.lookaheads, *self.teachers]
        for part in parts:
            part.to(self.device)

    def on_train_start(self) -> None:
        """Initialise a network that starts from data. A resumed run gives each device its own statistics, if there are
        as many devices as before."""
        if self.global_step == 0 and self.from_scratch and hasattr(self.network, "start_from_data"):
            self._start_from_data()
        saved, self.saved_statistics = self.saved_statistics, None
        if saved is not None and len(saved) == self.trainer.world_size:
            buffers = self._statistics()
            values = saved[self.trainer.global_rank].to(self.device).split([buffer.numel() for buffer in buffers])
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value.view_as(buffer))

    def _start_from_data(self) -> None:
        batches = self.training_images(self.network.images_to_start_from, None)
        images = torch.cat([self.augment.normalise(batch.images.to(self.device)) for batch in batches])
        self.network.start_from_data(images)
        for average in self.averages:
            average.network.load_state_dict(self.network.state_dict())
        for lookahead in self.lookaheads:
            lookahead.restart(self.network)

    def refresh_statistics(self) -> None:
        """Before an evaluation: recompute them where the recipe says so, and average them over devices (timm's
        `--dist-bn reduce`)."""
        if self.statistics_are_stale:
            if self.recipe.precise_bn:
                self.recompute_statistics(self.network)
            for average in self.averages:
                if self.recipe.precise_bn or (self.recipe.swa and average.count):
                    self.recompute_statistics(average.network)
        if self.trainer.world_size > 1:
            for buffer in self._statistics():
                buffer.copy_(self.trainer.strategy.reduce(buffer, reduce_op="mean"))
        self.statistics_are_stale = False

    def recompute_statistics(self, network: nn.Module) -> None:
        """From all training images, or as many as `precise_bn` says."""
        if batch_norms(network):
            with self.trainer.strategy.precision_plugin.forward_context():
                recompute(network, self.training_modes, self._augmented_images())

    def _augmented_images(self) -> Iterator[Tensor]:
        """The images that statistics are computed of: `precise_bn` of them, or all."""
        epoch = self.trainer.current_epoch
        for index, batch in enumerate(self.training_images(self.recipe.precise_bn, epoch)):
            with torch.autocast(self.device.type, enabled=False):
                images = self.augment(batch.images.to(self.device), batch.sample_keys.to(self.device), epoch)
                images = images.contiguous(memory_format=self.memory_format)
            reseed(self.device, self.seed, "statistics", epoch, index, self.trainer.global_rank)
            yield images

    def _statistics(self) -> list[Tensor]:
        """The buffers that differ between devices within an epoch."""
        networks = [self.network, *(average.network for average in self.averages)]
        buffers = [b for network in networks for b in network.buffers() if b.is_floating_point()]
        return sum((lookahead.statistics() for lookahead in self.lookaheads), buffers)

    def _parts(self) -> dict[str, Sequence[Average | Lookahead]]:
        return {"averages": self.averages, "lookaheads": self.lookaheads}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss_monitor.check_last()
        checkpoint["epoch_sums"] = self.trainer.strategy.reduce(self.epoch_sums.clone(), reduce_op="sum").cpu()
        checkpoint["train_metrics"] = self.train_metrics
        for name, parts in self._parts().items():
            checkpoint[name] = [part.state_dict() for part in parts]
        checkpoint["plateau"] = self.plateau.state_dict()
        checkpoint["teachers"] = [teacher.digest for teacher in self.teachers]
        checkpoint["stopped_early"] = self.recipe.total_epochs if self.trainer.should_stop else 0
        if self.trainer.world_size > 1:  # Lightning saves the buffers of the first device only
            own = torch.cat([buffer.flatten() for buffer in self._statistics()] or [self.epoch_sums[:0]])
            gathered = [torch.empty_like(own) for _ in range(self.trainer.world_size)]
            dist.all_gather(gathered, own)
            checkpoint["statistics"] = torch.stack(gathered).cpu()  # (devices, values)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        digests = [teacher.digest for teacher in self.teachers]
        if checkpoint.get("teachers", digests) != digests:
            raise RecipeError(
                "The teacher's weights are no longer those that this run began with: start a new run, run=NAME."
            )
        self.epoch_sums = checkpoint["epoch_sums"].to(self.epoch_sums.dtype)
        self.epoch_sums *= self.trainer.is_global_zero  # the first device goes on with the sums of all
        self.train_metrics = checkpoint["train_metrics"]
        self.saved_statistics = checkpoint.get("statistics")
        for name, parts in self._parts().items():
            for part, state in zip(parts, checkpoint[name], strict=True):
                part.load_state_dict(state)
        self.plateau.load_state_dict(checkpoint["plateau"])
        stopped = checkpoint["stopped_early"]  # by version 0.1: true or false
        self.trainer.should_stop |= stopped is True or stopped == self.recipe.total_epochs
