"""Tests that are recorded image by image, of one network or of several."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from lineage.analysis.record import TOP, Record, keeps_logits
from lineage.datamodules.base import ImageDataModule
from lineage.errors import UserError
from lineage.recipes.classifier import Classifier
from lineage.recipes.evaluation import METRICS, Evaluator
from lineage.recipes.inference import Ensemble
from lineage.recipes.predictions import Predictions
from lineage.reporting.results import versions
from lineage.running.trainer import Trainer
from lineage.weights.preprocessing import Preprocessing


def test(
    trainer: Trainer, evaluator: Evaluator, data: ImageDataModule, preprocessing: Preprocessing, *, split: str,
    weights: str, differs: Sequence[str] = (), checkpoint: Path | None = None,
) -> Record:  # fmt: skip
    """Test and return the record of it. All ranks call this together.

    Args:
        data: its `test` is tested.
        split: the name of these images, which the metrics begin with.
        weights: last, best, or where they come from.
        differs: the words of the command by which the evaluation differs from the run's own.
        checkpoint: whose weights are loaded first.

    Raises:
        UserError: there are no images, or none can be read.
    """
    if not len(data.test):
        raise UserError(f"split={split}: there are no such images.")
    keep = keeps_logits(len(data.test), evaluator.num_classes)
    predictions = Predictions(top=TOP, keep_logits=keep, exact=evaluator.sum_dtype == torch.float64)
    evaluator.predictions = predictions
    trainer.test(evaluator, datamodule=data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    evaluator.predictions, columns = None, predictions.gather()
    names = paths(data.test, data.root, columns["index"])
    columns["path"] = numpy.array([os.fsencode(name) for name in names], dtype=bytes)
    metrics = {f"{split}_{name}": float(trainer.callback_metrics[f"test_{name}"]) for name in METRICS}
    facts = {
        "data": hashlib.blake2b(columns["label"].tobytes() + columns["path"].tobytes(), digest_size=16).hexdigest(),
        "preprocessing": asdict(preprocessing),
        "weights": checksum(evaluator.evaluated_networks("test")["test"]),
        "versions": versions(),
    }
    return Record(split, weights, metrics, data.class_names(), columns, facts, ",".join(differs))


def paths(images: Any, root: Path, index: numpy.ndarray) -> list[str]:
    """The name of each image below the data's folder; empty if images are no files of their own."""
    if not hasattr(images, "blobs"):
        return [""] * len(index)
    top = f"{os.path.abspath(root)}{os.sep}"
    return [images.blobs.name(images.index(sample)).removeprefix(top) for sample in index.tolist()]


def checksum(network: nn.Module) -> str:
    """A digest of a network's parameters and statistics."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def combined(networks: Sequence[nn.Module], soup: bool) -> nn.Module:
    """One network of several: of their mean weights (a uniform soup, arXiv 2203.05482), or of mean probabilities."""
    first, *others = networks
    if not others:
        return first
    if not soup:
        return Ensemble(networks)
    states = [network.state_dict() for network in networks]
    means = {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    first.load_state_dict(means)
    return first


class NewStatistics(Callback):
    """Computes the statistics of batch normalisation anew before a test, from all training images."""

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Classifier)
        module.recompute_statistics(module.network)
