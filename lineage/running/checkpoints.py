"""Checkpoints: written whole or not at all, at every epoch's end and every few minutes; read as data, never as code."""

import copy
import errno
import math
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lineage.errors import UserError
from lineage.files import TEMPORARY, cannot_write, reason, replacing

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
EPOCH_S = 10.0  # an epoch that ends sooner after the last checkpoint is not saved, so a run of seconds saves at its end


class CheckpointError(UserError):
    """A checkpoint that cannot be written or read."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to the disk, rename: a kill leaves the old file or the new one.

    Lightning's own writes to the temporary folder and moves, which across file systems is a copy that a kill can cut.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the checkpoint, or append a copy to `storage_options`, a list."""
        if storage_options is not None:
            storage_options.append(copy.deepcopy(checkpoint))
            return
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # torch's word for a full disk
                raise
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise CheckpointError(cannot_write(path, error if isinstance(error, OSError) else full)) from error


class Checkpoints(ModelCheckpoint):
    """last.ckpt, the one before it, and best.ckpt, of the epoch with the best `metric`.

    It has the attributes of Lightning's ModelCheckpoint (best_model_path, last_model_path, best_model_score), but this
    project's files; lineage/running/stopping.py says when within an epoch to save, and whether its end has to be.

    The end of an epoch that is not saved costs a killed run up to EPOCH_S seconds, which it computes again, to the same
    bits. If it is the best, its checkpoint is kept in memory and becomes best.ckpt before last.ckpt is next written: a
    last.ckpt never names a best step whose best.ckpt is missing.

    Args:
        folder: of the files.
        minutes, steps: intervals of saving within an epoch; 0: none.
        facts: saved with the weights: the network's arguments (arch), so that they are never loaded into another
            network, and how images are preprocessed, so that an evaluation does the same.
        metric: its highest value is the best; of a loss the lowest.
    """

    def __init__(
        self, folder: Path, minutes: float, steps: int, facts: dict[str, Any], metric: str = "val_top1"
    ) -> None:
        super().__init__(folder, monitor=metric, mode="min" if "loss" in metric else "max", save_top_k=1)
        self.folder, self.minutes, self.steps, self.facts, self.metric = folder, minutes, steps, facts, metric
        self.saved_at, self.saved_step, self.epoch_must_be_saved = time.monotonic(), 0, True
        self.best, self.best_step = -1.0, 0  # step 0: no epoch was validated
        self.unwritten_best: list[dict[str, Any]] = []  # at most one

    def is_old(self) -> bool:
        return time.monotonic() - self.saved_at >= EPOCH_S

    def is_due_by_clock(self) -> bool:
        return bool(self.minutes) and time.monotonic() - self.saved_at >= 60 * self.minutes

    def is_due_by_steps(self, trainer: pl.Trainer) -> bool:
        return bool(self.steps) and trainer.global_step % self.steps == 0

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        found = trainer.callback_metrics
        if self.metric not in found and "val_top1" in found:
            raise UserError(f"best={self.metric}: there is no such metric; there are {', '.join(sorted(found))}.")
        if improved := self.improves(found):
            self.best, self.best_step = float(found[self.metric]), trainer.global_step
            self._name_best()
            self.unwritten_best.clear()
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if not (self.epoch_must_be_saved or is_last):
            if improved:
                trainer.save_checkpoint(self.folder / BEST, weights_only=False, storage_options=self.unwritten_best)
            return
        self.save(trainer)
        if improved and trainer.is_global_zero:
            link(self.folder / LAST, self.folder / BEST)

    def improves(self, metrics: Mapping[str, Any]) -> bool:
        """Whether these are better than those of the best epoch until now."""
        value = float(metrics.get(self.metric, math.nan))
        ahead = value - self.best if self.mode == "max" else self.best - value
        return ahead > 0 or not (self.best_step or math.isnan(value))

    def save(self, trainer: pl.Trainer) -> None:
        while self.unwritten_best:
            trainer.strategy.save_checkpoint(self.unwritten_best.pop(), self.folder / BEST)
        if trainer.is_global_zero and (self.folder / LAST).exists():
            link(self.folder / LAST, self.folder / PREVIOUS)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.last_model_path = str(self.folder / LAST)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        notes = [*getattr(module.network, "notes", ())]
        checkpoint.update(self.facts, notes=notes, class_names=data.class_names() if data else None)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_step = state["best"], state["best_step"]
        if self.best_step:
            self._name_best()

    def _name_best(self) -> None:
        self.best_model_path, self.best_model_score = str(self.folder / BEST), torch.tensor(self.best)

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.saved_step = trainer.global_step

    def _do_nothing(self, *_: Any, **__: Any) -> None:
        """Lightning's own saving is disabled."""

    setup = on_train_batch_end = on_validation_end = on_exception = on_train_end = _do_nothing


def link(source: Path, target: Path) -> None:
    """Give a file a second name at once; where the file system has no links, copy it."""
    temporary = target.with_name(target.name + TEMPORARY)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        temporary.write_bytes(source.read_bytes())
    os.replace(temporary, target)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain values, every byte of them compared with its checksum.

    Raises:
        CheckpointError: the file is missing, altered, no checkpoint of a run, or holds something that is not data.
    """
    try:
        with ZipFile(path) as archive:  # torch writes the checksums of the archive and does not look at them
            altered = archive.testzip()
        if altered:
            raise BadZipFile(f"{altered} is altered")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except (OSError, MemoryError) as error:  # the file may be intact, so no other checkpoint replaces it
        raise UserError(
            f"{path} cannot be read ({reason(error)}). It stays; once it can be read, the same command continues."
        ) from error
    except Exception as error:  # the readers of zip, pickle and torch raise many types of a damaged file
        code = isinstance(error, pickle.UnpicklingError) and "Weights only load failed" in str(error)
        how = "it holds code" if code else "cut short or altered"
        raise CheckpointError(f"{path} is damaged ({how}) and cannot be read.") from error
    if not isinstance(state, dict) or not {"state_dict", "optimizer_states", "global_step", "loops"} <= state.keys():
        raise CheckpointError(f"{path} is damaged (not a checkpoint of a run) and cannot be read.")
    return state


class Start(NamedTuple):
    """Where a run continues: its newest readable checkpoint, if any, and messages about damaged ones.

    notes: of the network at the run's first start, such as the source of its weights, which are not loaded again.
    """

    path: Path | None = None
    step: int = 0
    is_best: bool = False
    damaged: list[str] = []
    notes: list[str] = []


def to_continue(folder: Path) -> Start:
    """Where the run in a folder continues.

    Raises:
        CheckpointError: there are checkpoints and none can be read.
    """
    damaged: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = read(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        step = state["global_step"]
        is_best = any(step == entry.get("best_step") for entry in state["callbacks"].values())
        return Start(path, step, is_best, damaged, state.get("notes", []))
    if damaged:
        raise CheckpointError("\n".join(damaged))
    return Start()


def repair(folder: Path, start: Start) -> None:
    """Leave no damaged last.ckpt, which would become the previous one, and no best.ckpt that is older than the best.

    A kill may come between writing the checkpoint of the best epoch and linking it as best.ckpt.
    """
    if start.path is None:
        (folder / BEST).unlink(missing_ok=True)  # of a run that was killed before it wrote last.ckpt
        return
    if start.path != folder / LAST:
        link(start.path, folder / LAST)
    if start.is_best:
        link(start.path, folder / BEST)
