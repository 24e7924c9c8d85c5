"""Evaluation: exact metrics of a network over validation or test images, for training and for `lineage evaluate`."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lineage.errors import UserError
from lineage.recipes.augment.device import Normalise
from lineage.recipes.inference import MULTI_CROP, average_views
from lineage.recipes.losses import evaluation_loss
from lineage.recipes.predictions import Predictions
from lineage.recipes.recipe import Recipe

METRICS = ("top1", "top5", "loss")


class Evaluator(pl.LightningModule):
    """Loss, top-1 and top-5 accuracy of a network.

    Args:
        recipe: for its loss and its views of an image.
        exact: whether to add up in float64, which Apple's GPUs do not have.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, normalise: Normalise, *, num_classes: int,
        channels_last: bool = False, exact: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network: Any = network
        self.recipe, self.normalise, self.num_classes = recipe, normalise, num_classes
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.sum_dtype = torch.float64 if exact else torch.float32
        self.predictions: Predictions | None = None  # where a test puts its predictions
        self.sums: dict[str, Tensor] = {}  # of METRICS and of images, (4,), over this device's; by the metrics' prefix

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes the hook that runs, thirty times a step; torch looks at such a value for parameters."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def evaluated_networks(self, stage: str) -> Mapping[str, nn.Module]:
        """The networks to evaluate, by the prefix of their metrics. The stage's own prefix is that of its result."""
        return {stage: self.network}

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch, "val")

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch, "test")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, batch: Any, stage: str) -> None:
        # A device without images takes part in the sum over devices.
        sums = torch.zeros(len(METRICS) + 1, dtype=self.sum_dtype, device=self.device)
        with torch.autocast(self.device.type, enabled=False):
            images = self.normalise(batch.images).contiguous(memory_format=self.memory_format)
        for prefix, network in self.evaluated_networks(stage).items():
            values = self._values(network, images, batch, stage).sum(dim=1) if len(images) else sums
            self.sums[prefix] = self.sums.get(prefix, 0) + values

    def _values(self, network: nn.Module, images: Tensor, batch: Any, stage: str) -> Tensor:
        """METRICS of each image and a 1, (4, B)."""
        labels = batch.labels
        views = self.recipe.val_views if stage == "val" else self.recipe.test_views
        side = self.recipe.test_res if self.recipe.test_views in MULTI_CROP else 0
        logits = average_views(views, network, images, side)
        with torch.autocast(self.device.type, enabled=False):
            loss = evaluation_loss(self.recipe, logits.float(), labels)
        if self.predictions is not None and stage == "test":
            self.predictions.add(batch.sample_keys[:, 1], labels, loss, logits.float())
        hits = logits.topk(min(5, self.num_classes), dim=1).indices == labels[:, None]  # (B, 5)
        values = hits[:, 0], hits.any(dim=1), loss, torch.ones_like(loss)
        return torch.stack([value.to(self.sum_dtype) for value in values])

    def _log_metrics(self, stage: str) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        for prefix in self.evaluated_networks(stage):
            *sums, images = self.trainer.strategy.reduce(self.sums.pop(prefix), reduce_op="sum")
            if not images:
                raise UserError(f"None of the {stage} images could be read.")
            results |= {f"{prefix}_{name}": value / images for name, value in zip(METRICS, sums, strict=True)}
        # For callbacks; lineage/reporting/metric_rows.py hands the metrics to the loggers.
        self.log_dict(results, logger=False)
        return results
