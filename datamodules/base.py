"""The base class of all data sets: their properties, a validation split with its own seed, and loaders."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from lineage.constraints import argument_checker
from lineage.datamodules.discovery.scanning import listed
from lineage.datamodules.errors import DataError
from lineage.datamodules.images import Fault, Images, View
from lineage.datamodules.loading.loader import (
    EvaluationLoader,
    MicroBatch,
    Stream,
    TrainLoader,
    batch_requests,
    first_repetitions,
)
from lineage.datamodules.loading.order import BatchSplit, EpochOrder
from lineage.datamodules.loading.worker_pool import Job, Pool, batches_ahead, cores_of_rank
from lineage.datamodules.split import check_same_images, held_out, in_fold
from lineage.text import CAREFUL

checked = argument_checker(DataError, "datamodule.")


class ImageDataModule(pl.LightningDataModule, ABC):
    """A data set.

    Args:
        root: folder of the files.
        num_classes, channels: of the images.
        mean, std: mean and standard deviation of pixels in [0, 1], per channel.
        mirror: whether a mirrored image still belongs to its class.
        resolution: image side in pixels; None: the recipe's train_res and test_res.
        val_size: training images held out for validation; 0: validate on the test set, as the CIFAR papers do.
        split_seed: decides which are held out, stratified by class; independent of the run's seed.
        workers: processes that decode or augment images; None: one for each available core.

    Attributes:
        names: the classes' names, if they have any.
        notes: sentences about these files that the user should read.
        largest: the largest short side of all images, in pixels; None: unknown.
        window: images among which an epoch's order is random before it moves on; 0: all of them.
        skipped: images that were left out because they cannot be read, with the reason.
        learned: in an evaluation, the class names of the weights, which folders are matched with.
        trained_on: in an evaluation, the digest of the training images; other images are not held out.
        fold_of: a fold and the number of folds, if that is what is held out.
        held_out: a digest of which training images are held out for validation; None: no image is.
        validation: a digest of the names and classes of other validation images; None: there are none, or no names.
    """

    names: Sequence[str] = ()
    largest: int | None = None
    window = 0
    fold_of: tuple[int, int] | None = None
    held_out: str | None = None
    validation: str | None = None
    learned: list[str] | None = None
    trained_on: str | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]

    @checked
    def __init__(
        self,
        *,
        root: str,
        num_classes: Annotated[int, "1 <= x <= 1000000"],
        channels: Annotated[int, "1 <= x <= 64"],
        mean: Sequence[Annotated[float, "0 <= x <= 1"]],
        std: Sequence[Annotated[float, "0 < x <= 1"]],
        mirror: bool,
        resolution: Annotated[int, "1 <= x <= 8192"] | None,
        val_size: Annotated[int, "x >= 0"],
        split_seed: Annotated[int, "x >= 0"],
        workers: Annotated[int, "0 <= x <= 1024"] | None,
    ) -> None:
        super().__init__()
        self.root, self.num_classes, self.channels = Path(root), num_classes, channels
        self.mean, self.std, self.mirror = list(mean), list(std), mirror
        self.resolution, self.val_size, self.split_seed = resolution, val_size, split_seed
        self.workers = workers
        self.notes: list[str] = []
        self.skipped: dict[str, str] = {}
        self.training_view: View | None = None
        self.test_view: View | None = None
        self._pool_of_jobs: tuple[dict[str, Job], Pool] | None = None
        self._streams: dict[str, tuple[Job, Stream]] = {}

    def class_names(self) -> list[str]:
        """A name for each class, in the order of the labels; numbers if there are not as many names as classes."""
        return list(self.names) if len(self.names) == self.num_classes else list(map(str, range(self.num_classes)))

    @abstractmethod
    def read(self) -> tuple[Images, Images] | tuple[Images, Images, Images]:
        """Training and test images, or training, validation and test images. Raises DataError: files are missing or
        damaged."""

    def load(self) -> None:
        """Read the files and set `train`, `val` and `test`. Raises DataError: files are missing, damaged, or fewer than
        val_size asks for."""
        self.train, *validation, self.test = self.read()
        self.val = validation[0] if validation else self.test
        if validation or self.val_size == 0:
            return
        whole = self.train
        labels, seed = whole.labels.numpy(), self.split_seed
        held = in_fold(labels, *self.fold_of, seed) if self.fold_of else held_out(labels, self.val_size, seed)
        chosen = torch.from_numpy(held)
        self.train, self.val = (whole.subset(mask.nonzero()[:, 0]) for mask in (~chosen, chosen))
        self.held_out = hashlib.blake2b(chosen.numpy().tobytes(), digest_size=16).hexdigest()
        lacking = sorted(set(self.train.labels.tolist()) - set(self.val.labels.tolist()))
        if lacking:
            names = self.class_names()
            count = f"{len(lacking):,} of the {len(names):,} classes"
            self.notes.append(
                f"{CAREFUL}validation has no image of {count}: {listed(names[label] for label in lacking)}"
            )

    # ---- loaders

    def connect_training(self, order: EpochOrder, split: BatchSplit, view: View | None, epochs: int) -> None:
        self.order, self.split, self.training_view, self.epochs = order, split, view, epochs

    def connect_evaluation(self, batch_size: int, view: View | None) -> None:
        self.evaluation_batch, self.test_view = batch_size, view

    def train_dataloader(self) -> TrainLoader:
        assert self.trainer is not None
        last = min(self.epochs, self.trainer.max_epochs or self.epochs) - 1
        return TrainLoader(self._stream("train"), self.order, self.split, self.trainer.global_rank, last)

    def val_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> EvaluationLoader:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, job: str) -> EvaluationLoader:
        assert self.trainer is not None
        return EvaluationLoader(
            self._stream(job), self.evaluation_batch, self.trainer.world_size, self.trainer.global_rank
        )

    def training_images(self, count: int, epoch: int | None) -> Iterator[MicroBatch]:
        """This rank's share of the first `count` images of an epoch (0: of all), outside training. epoch: the epoch
        whose order and augmentation they have; None: the first images of the files, as in a test."""
        assert self.trainer is not None
        stream = self._new_stream("start" if epoch is None else "train")
        if epoch is None:
            sample_keys = first_repetitions(torch.arange(min(count, len(self.train)) or len(self.train)))
        else:
            order = self.order.epoch(epoch)
            sample_keys = order[: count or len(order)][self.trainer.global_rank :: self.trainer.world_size]
        sample_keys = sample_keys.to(stream.source.images.labels.device)
        requests = batch_requests(sample_keys, -(-len(sample_keys) // self._micro_batch()))
        return stream(iter(requests), len(requests))

    def report(self, faults: Iterable[Fault]) -> None:
        """Handle images that cannot be read. Raises DataError, which names the first."""
        first = next(iter(faults))
        raise DataError(
            f"{first.name} cannot be read as an image ({first.reason}).\nReplace it, or leave unreadable images out: "
            "datamodule.on_error=skip datamodule.max_errors=N."
        )

    def _stream(self, job: str) -> Stream:
        """The stream of a job, with the batches that it has begun."""
        source = self._jobs()[job]
        if job not in self._streams or self._streams[job][0] != source:
            self._streams[job] = source, self._new_stream(job)
        return self._streams[job][1]

    def _new_stream(self, job: str) -> Stream:
        """Images in memory that need no work on the host lie on the device; others are made by worker processes."""
        assert self.trainer is not None
        device, source = self.trainer.strategy.root_device, self._jobs()[job]
        if source.needs_host:
            return Stream(job, source, device, self._pool if self._worker_count() else None, self.report)
        return Stream(job, Job(source.images.to(device), None), device, None, self.report)

    def _jobs(self) -> dict[str, Job]:
        jobs = {"val": Job(self.val, self.test_view), "test": Job(self.test, self.test_view)}
        if hasattr(self, "order"):
            jobs["train"] = Job(self.train, self.training_view)
            jobs["start"] = Job(self.train, self.test_view)
        return jobs

    def _pool(self) -> Pool:
        """The worker processes. They live until their jobs change."""
        jobs = {name: job for name, job in self._jobs().items() if job.needs_host}
        if self._pool_of_jobs is not None and self._pool_of_jobs[0] == jobs:
            return self._pool_of_jobs[1]
        if self._pool_of_jobs is not None:
            self._pool_of_jobs[1].close()
        assert self.trainer is not None
        workers, micro_batch = self._worker_count(), self._micro_batch()
        counts = {"train": micro_batch, "start": micro_batch}
        epochs = getattr(self, "epochs", 1)
        largest = max(job.max_bytes(counts.get(name, self.evaluation_batch), epochs) for name, job in jobs.items())
        ahead = batches_ahead(workers, micro_batch, self.split.accumulation if hasattr(self, "order") else 1, largest)
        self._pool_of_jobs = jobs, Pool(jobs, workers, largest, ahead, self.trainer.strategy.root_device)
        return self._pool_of_jobs[1]

    def _micro_batch(self) -> int:
        return -(-self.order.batch_size // self.split.chunks) if hasattr(self, "order") else self.evaluation_batch

    def _worker_count(self) -> int:
        assert self.trainer is not None
        return cores_of_rank(self.trainer.num_devices) if self.workers is None else self.workers

    def left_out(self) -> dict[str, str]:
        """The skipped images of all processes of the run, which call this together, with the reason."""
        if not dist.is_initialized():
            return dict(self.skipped)
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, self.skipped)
        return {name: reason for those in gathered for name, reason in those.items()}

    # ---- what must be the same in a resumed run, since the order of its images depends on it

    def state_dict(self) -> dict[str, Any]:
        steps = {"steps_per_epoch": self.order.steps_per_epoch} if hasattr(self, "order") else {}
        digests = {key: value for key in ("held_out", "validation") if (value := getattr(self, key))}
        return {"training_images": len(self.train), "validation_images": len(self.val), **digests, **steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        check_same_images(ImageDataModule.state_dict(self), state_dict)
