"""Writes what an evaluation found into the run's directory: RUN/evaluations/<split>-<weights>[-<what differs>]."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from lineage.analysis.record import TOP, Record, keeps_logits
from lineage.datamodules.base import ImageDataModule
from lineage.recipes.evaluation import Evaluator
from lineage.recipes.predictions import Predictions
from lineage.reporting.results import versions
from lineage.weights.preprocessing import Preprocessing


def collect(evaluator: Evaluator, images: int) -> None:
    """Have the next test keep its predictions."""
    exact, classes = evaluator.sum_dtype == torch.float64, evaluator.num_classes
    evaluator.predictions = Predictions(top=TOP, keep_logits=keeps_logits(images, classes), exact=exact)


def gathered(
    evaluator: Evaluator, data: ImageDataModule, metrics: dict[str, float], preprocessing: Preprocessing, *,
    split: str, weights: str, differs: Sequence[str] = (),
) -> Record:  # fmt: skip
    """The record of the test that has ended. All ranks call this together.

    Args:
        metrics: with the split's prefix.
        weights: last, best, or where they come from.
        differs: the words of the command by which the evaluation differs from the run's own.
    """
    assert evaluator.predictions is not None
    columns, evaluator.predictions = evaluator.predictions.gather(), None
    names = paths(data.test, data.root, columns["index"])
    columns["path"] = numpy.array([os.fsencode(name) for name in names], dtype=bytes)
    digest = hashlib.blake2b(columns["label"].tobytes() + columns["path"].tobytes(), digest_size=16)
    facts = {
        "data": digest.hexdigest(),  # of labels and paths
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


def write(record: Record, folder: Path) -> None:
    """Write it below a run's folder. Raises UserError: it cannot be written."""
    record.write(folder / "evaluations" / record.name)
