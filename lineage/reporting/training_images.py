"""The images of an optimiser step as the network gets them, each beside the same image in an evaluation."""

from itertools import islice

import numpy
import torch
from torch import Tensor

from lineage.analysis.contact_sheet import Pair
from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.images import Images
from lineage.datamodules.loading.loader import MicroBatch, Request, Stream, first_repetitions
from lineage.datamodules.loading.order import BatchSplit
from lineage.datamodules.loading.worker_pool import Job
from lineage.errors import UserError
from lineage.recipes.classifier import Classifier
from lineage.recipes.micro_batch import MicroBatchKey, augment_and_mix
from lineage.recipes.mixing import Mix, partners


def pairs(data: ImageDataModule, classifier: Classifier, count: int, epoch: int, step: int) -> list[Pair]:
    """The first images of a step, at most `count`.

    They are those of its first micro-batch. If the recipe draws each image several times in a row (repeated_aug), they
    are of all its micro-batches in turn, so that the repetitions stand together.

    Args:
        data: connected to a trainer.
        step: of the epoch, counted from 0.

    Raises:
        UserError: the run has no such step.
        DataError: an image cannot be read.
    """
    recipe, order, chunks = classifier.recipe, data.order, data.split.chunks
    for key, value, end in (("epoch", epoch, recipe.total_epochs), ("step", step, order.steps_per_epoch)):
        if value >= end:
            raise UserError(f"{key}={value}: the {'run' if key == 'epoch' else 'epoch'} has {end}, counted from 0.")
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    loader.split = BatchSplit(1, chunks)  # the images of a step do not depend on the number of devices
    wanted = min(count, chunks) if recipe.repeated_aug else 1
    requests = list(islice(loader.requests(epoch, step), wanted))
    step_of_run = epoch * order.steps_per_epoch + step
    rows, batches = -(-count // wanted), loader.stream(iter(requests), wanted)
    columns = [_pairs_of_micro_batch(batch, data, classifier, epoch, step_of_run, rows) for batch in batches]
    available = sum(map(len, columns))
    return [columns[place % wanted][place // wanted] for place in range(min(count, available))]


def evaluation_images(data: ImageDataModule, samples: Tensor, images: Images | None = None) -> numpy.ndarray:
    """Images, by default for training, as an evaluation has them: (n, H, W, C) uint8. Raises DataError: one cannot be
    read."""
    job = Job(data.train if images is None else images, data.test_view)
    stream = Stream("start", job, torch.device("cpu"), None, data.report)
    (batch,) = stream(iter([Request((0, 0), first_repetitions(samples), 0, 1.0)]), 1)
    return batch.images.permute(0, 2, 3, 1).numpy()


def _pairs_of_micro_batch(
    batch: MicroBatch, data: ImageDataModule, classifier: Classifier, epoch: int, step: int, rows: int
) -> list[Pair]:
    """Pairs of the first `rows` images. The whole micro-batch is mixed, since partners may come from all of it."""
    augment, names = classifier.augment.to(batch.images.device), data.class_names()
    key = MicroBatchKey(classifier.seed, step, batch.chunk)
    pixels, mix = augment_and_mix(classifier.recipe, augment, batch.images, batch.sample_keys, epoch, key)
    pixels = (pixels[:rows] * augment.normalise.std + augment.normalise.mean).clamp(0, 1)
    training = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    evaluation = evaluation_images(data, batch.sample_keys[:rows, 1].cpu())
    others = batch.labels if mix is None else partners(mix, batch.labels)
    labels = zip(batch.labels[:rows].tolist(), others[:rows].tolist(), strict=True)
    return [
        Pair(_in_colour(before), _in_colour(after), _label(names[own], names[other], mix))
        for before, after, (own, other) in zip(evaluation, training, labels, strict=True)
    ]


def _label(own: str, other: str, mix: Mix | None) -> list[tuple[str, float]]:
    if mix is None or own == other:
        return [(own, 1.0)]
    return [(name, share) for name, share in ((own, mix.lam), (other, 1 - mix.lam)) if share]


def _in_colour(image: numpy.ndarray) -> numpy.ndarray:
    return image.repeat(3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
