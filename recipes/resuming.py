"""What a classifier saves and takes up again beside weights and optimiser, and the statistics of its networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lineage.recipes.augment.randomness import reseed
from lineage.recipes.optim.batch_norm_statistics import batch_norms, recompute
from lineage.recipes.recipe import RecipeError

if TYPE_CHECKING:
    from lineage.recipes.augment.device import DeviceAugmentation
    from lineage.recipes.distillation import Teacher
    from lineage.recipes.divergence import LossWatch
    from lineage.recipes.optim.averaging import Average
    from lineage.recipes.optim.lookahead import Lookahead
    from lineage.recipes.optim.schedules import Plateau
    from lineage.recipes.recipe import Recipe

# How many images, and of which epoch's augmentation (none: as in a test) -> micro-batches of them; 0: all images.
TrainingImages = Callable[[int, int | None], Iterator[Any]]


class Resumable(pl.LightningModule):
    """The part of a Classifier that knows checkpoints and devices."""

    network: nn.Module
    recipe: Recipe
    augment: DeviceAugmentation
    averages: list[Average]
    lookaheads: list[Lookahead]
    teachers: list[Teacher]
    plateau: Plateau
    watch: LossWatch
    seed: int
    memory_format: torch.memory_format
    epoch_sums: Tensor
    modes: list[bool]
    train_metrics: dict[str, float]

    training_images: TrainingImages | None = None  # of the data, for statistics and for networks that start from them
    from_scratch = True  # not from weights that somebody trained
    statistics: Tensor | None = None  # of a checkpoint, until training goes on
    statistics_are_stale = False

    # ---- devices

    def on_fit_start(self) -> None:
        self._all_to_device()
        self.epoch_sums = self.epoch_sums.to(self.device)

    def on_test_start(self) -> None:
        self._all_to_device()

    def _all_to_device(self) -> None:
        parts: list[Any] = [*self.averages, *self.lookaheads, *self.teachers]
        for part in parts:
            part.to(self.device)

    def on_train_start(self) -> None:
        """Let a network that starts from the data see some; give each device its own statistics back, if as many
        devices as before go on."""
        if self.global_step == 0 and self.from_scratch and hasattr(self.network, "start_from_data"):
            self._start_from_data()
        rows, self.statistics = self.statistics, None
        if rows is not None and len(rows) == self.trainer.world_size:
            values = rows[self.trainer.global_rank].to(self.device)
            for buffer in self._statistics():
                buffer.copy_(values[: buffer.numel()].view_as(buffer))
                values = values[buffer.numel() :]

    # ---- statistics of batch normalisation

    def refresh_statistics(self) -> None:
        """Before an evaluation: compute anew what the recipe says; average the devices' (timm's "dist-bn reduce")."""
        recipe = self.recipe
        if self.statistics_are_stale and (recipe.precise_bn or recipe.swa):
            if recipe.precise_bn:
                self._recompute(self.network, recipe.precise_bn)
            for average in self.averages:
                if recipe.precise_bn or average.count:
                    self._recompute(average.network, recipe.precise_bn)
        if self.trainer.world_size > 1:
            for buffer in self._statistics():
                buffer.copy_(self.trainer.strategy.reduce(buffer, reduce_op="mean"))
        self.statistics_are_stale = False

    def _recompute(self, network: nn.Module, count: int) -> None:
        if batch_norms(network):
            with self.trainer.strategy.precision_plugin.forward_context():
                recompute(network, self.modes, self._pixels(count))

    def _pixels(self, count: int) -> Iterator[Tensor]:
        assert self.training_images is not None
        for index, batch in enumerate(self.training_images(count, self.trainer.current_epoch)):
            with torch.autocast(self.device.type, enabled=False):
                images = self.augment(batch.images.to(self.device), batch.sample_keys.to(self.device))
                images = images.contiguous(memory_format=self.memory_format)
            reseed(self.device, self.seed, "statistics", self.trainer.current_epoch, index, self.trainer.global_rank)
            yield images

    def _start_from_data(self) -> None:
        assert self.training_images is not None
        network: Any = self.network
        batches = self.training_images(network.images_to_start_from, None)
        network.start_from_data(torch.cat([self.augment.normalise(batch.images.to(self.device)) for batch in batches]))
        for average in self.averages:
            average.network.load_state_dict(self.network.state_dict())
        for lookahead in self.lookaheads:
            lookahead.restart(self.network)

    def _statistics(self) -> list[Tensor]:
        networks = [self.network, *(average.network for average in self.averages)]
        buffers = [b for network in networks for b in network.buffers() if b.is_floating_point()]
        return buffers + [buffer for lookahead in self.lookaheads for buffer in lookahead.statistics()]

    # ---- stopping and going on

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.watch.check_last()
        checkpoint["epoch_sums"] = self.trainer.strategy.reduce(self.epoch_sums.clone(), reduce_op="sum").cpu()
        checkpoint["train_metrics"] = self.train_metrics
        checkpoint["averages"] = [average.state_dict() for average in self.averages]
        checkpoint["lookaheads"] = [lookahead.state_dict() for lookahead in self.lookaheads]
        checkpoint["plateau"] = self.plateau.state_dict()
        checkpoint["teachers"] = [teacher.digest for teacher in self.teachers]
        checkpoint["stopped_early"] = bool(self.trainer.should_stop)
        if self.trainer.world_size > 1:  # within an epoch every device has its own; state_dict is the first's
            mine = torch.cat([buffer.flatten() for buffer in self._statistics()] or [self.epoch_sums[:0]])
            of_all = [torch.empty_like(mine) for _ in range(self.trainer.world_size)]
            dist.all_gather(of_all, mine)
            checkpoint["statistics"] = torch.stack(of_all).cpu()  # (devices, values)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        taught = [teacher.digest for teacher in self.teachers]
        if checkpoint.get("teachers", taught) != taught:
            raise RecipeError(
                "The teacher's weights are no longer those that this run began with; run=NAME begins anew."
            )
        first = self.trainer.is_global_zero  # the sums of all ranks go on in the first
        self.epoch_sums = checkpoint["epoch_sums"].to(self.epoch_sums.dtype) * first
        self.train_metrics, self.statistics = checkpoint["train_metrics"], checkpoint.get("statistics")
        for average, state in zip(self.averages, checkpoint["averages"], strict=True):
            average.load_state_dict(state)
        for lookahead, state in zip(self.lookaheads, checkpoint["lookaheads"], strict=True):
            lookahead.load_state_dict(state)
        self.plateau.load_state_dict(checkpoint["plateau"])
        if checkpoint["stopped_early"]:
            self.trainer.should_stop = True
