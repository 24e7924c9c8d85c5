"""Evaluation: exact metrics of a network over validation or test images. What a run and evaluate.py share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from lineage.errors import UserError
from lineage.recipes.augment.device import Normalise
from lineage.recipes.augment.views import average_views
from lineage.recipes.losses import evaluation_loss
from lineage.recipes.recipe import Recipe


class Evaluator(pl.LightningModule):
    """Loss, top-1 and top-5 accuracy of a network.

    Args:
        recipe: says which loss, and which views of an image.
        normalise: (B, C, H, W) uint8 to what the network takes.
        channels_last: memory format of the images.
        exact: whether sums are of float64, which Apple's GPUs do not have.
    """

    stages: tuple[str, ...] = ("val", "test")

    def __init__(
        self, network: nn.Module, recipe: Recipe, normalise: Normalise, *, num_classes: int,
        channels_last: bool = False, exact: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.recipe, self.num_classes = network, recipe, num_classes
        self.normalise = normalise
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.sum_dtype = torch.float64 if exact else torch.float32
        self.metrics = nn.ModuleDict({stage: self._new_metrics() for stage in self.stages})

    def evaluated_networks(self, stage: str) -> Mapping[str, nn.Module]:
        """The networks to evaluate, by the prefix of their metrics. The one with the stage's own prefix counts."""
        return {stage: self.network}

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch.images, batch.labels, "val")

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch.images, batch.labels, "test")

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, images: Tensor, labels: Tensor, stage: str) -> None:
        if len(labels):
            with torch.autocast(self.device.type, enabled=False):
                images = self.normalise(images).contiguous(memory_format=self.memory_format)
        for prefix, network in self.evaluated_networks(stage).items():
            found = self._found(network, images, labels)
            for name, metric in self._metrics_of(prefix):
                metric.update(found[name].to(self.sum_dtype))

    def _found(self, network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if not len(labels):  # a rank without images, so that all make as many calls
            nothing = torch.zeros(0, device=self.device)
            return {"top1": nothing, "top5": nothing, "loss": nothing}
        logits = average_views(self.recipe.test_views, network, images)
        with torch.autocast(self.device.type, enabled=False):
            loss = evaluation_loss(self.recipe, logits.float(), labels)
        hits = logits.topk(min(5, self.num_classes), dim=1).indices == labels[:, None]  # (B, 5)
        return {"top1": hits[:, 0], "top5": hits.any(dim=1), "loss": loss}

    def _metrics_of(self, prefix: str) -> Iterator[tuple[str, Metric]]:
        for name, metric in cast(nn.ModuleDict, self.metrics[prefix]).items():
            yield name, cast(Metric, metric)

    def _log_metrics(self, stage: str) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for prefix in self.evaluated_networks(stage):
            for name, metric in self._metrics_of(prefix):
                found[f"{prefix}_{name}"] = metric.compute()
                if name == "top1" and found[f"{prefix}_{name}"].isnan():  # a mean of none
                    raise UserError(f"Of the images of {stage} none could be read.")
                metric.reset()
        self.log_dict(found, logger=False)  # for callbacks; lineage/reporting/metric_rows.py hands them to the loggers
        return found

    def _new_metrics(self) -> nn.ModuleDict:
        """Means over images, exact over devices: torchmetrics adds up sums and counts of all, of a device without any
        too (its accuracies cannot be updated with none)."""
        return nn.ModuleDict({name: MeanMetric().set_dtype(self.sum_dtype) for name in ("top1", "top5", "loss")})
