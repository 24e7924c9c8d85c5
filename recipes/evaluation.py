"""Evaluation: exact metrics of a network over validation or test images. What a run and evaluate.py share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from recipes.device_augmentation import Normalise
from recipes.losses import evaluation_loss
from recipes.recipe import Recipe


class Evaluator(pl.LightningModule):
    """Loss, top-1 and top-5 accuracy of a network.

    Args:
        recipe: says which loss.
        normalise: (B, C, H, W) uint8 to what the network takes.
        channels_last: memory format of the images.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, normalise: Normalise, *, num_classes: int, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.num_classes = network, recipe, num_classes
        self.normalise = normalise
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.metrics = nn.ModuleDict({"val": _metrics(), "test": _metrics()})

    @property
    def evaluated(self) -> nn.Module:
        """The network whose accuracy counts."""
        return self.network

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch.images, batch.labels, "val")

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch.images, batch.labels, "test")

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, images: Tensor, labels: Tensor, stage: str) -> None:
        if not len(labels):  # a rank without images, so that all make as many calls
            nothing = torch.zeros(0, dtype=torch.float64, device=self.device)
            found = {"top1": nothing, "top5": nothing, "loss": nothing}
        else:
            with torch.autocast(self.device.type, enabled=False):
                images = self.normalise(images).contiguous(memory_format=self.memory_format)
            logits = self.evaluated(images)
            with torch.autocast(self.device.type, enabled=False):
                loss = evaluation_loss(self.recipe, logits.float(), labels)
            hits = logits.topk(min(5, self.num_classes), dim=1).indices == labels[:, None]  # (B, 5)
            found = {"top1": hits[:, 0], "top5": hits.any(dim=1), "loss": loss}
        for name, metric in self._metrics_of(stage):
            metric.update(found[name].double())

    def _metrics_of(self, stage: str) -> Iterator[tuple[str, Metric]]:
        for name, metric in cast(nn.ModuleDict, self.metrics[stage]).items():
            yield name, cast(Metric, metric)

    def _log_metrics(self, stage: str) -> None:
        found = {f"{stage}_{name}": metric.compute() for name, metric in self._metrics_of(stage)}
        self.log_dict(found, logger=False)  # for callbacks; running/rows.py hands them to the loggers
        for _, metric in self._metrics_of(stage):
            metric.reset()


def _metrics() -> nn.ModuleDict:
    """Means over images, exact over devices: torchmetrics adds up sums and counts of all, of a device without any too
    (its accuracies cannot be updated with none)."""
    return nn.ModuleDict({name: MeanMetric().set_dtype(torch.float64) for name in ("top1", "top5", "loss")})
