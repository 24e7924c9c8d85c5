"""Checkpoints: written whole or not at all, at every epoch's end and every few minutes; read as data, never as code."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from running.errors import UserError

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to the disk, rename: a kill leaves the old file or the new one.

    Lightning's own writes to the temporary folder and moves, which across file systems is a copy that a kill can cut.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with open(part, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)


class Checkpoints(Checkpoint):
    """last.ckpt, the one before it, and best.ckpt, of the highest val_top1."""

    def __init__(self, folder: Path, minutes: float, steps: int) -> None:
        self.folder, self.minutes, self.steps = folder, minutes, steps
        self.saved_at = time.monotonic()
        self.best = -1.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # saved at the epoch's end, once its metrics are known
        if self._is_due(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        top1 = float(trainer.callback_metrics.get("val_top1", -1.0))
        improved = top1 > self.best
        self.best = max(self.best, top1)
        self.save(trainer)
        if improved and trainer.is_global_zero:
            link(self.folder / LAST, self.folder / BEST)

    def save(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and (self.folder / LAST).exists():
            link(self.folder / LAST, self.folder / PREVIOUS)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.saved_at = time.monotonic()

    def _is_due(self, trainer: pl.Trainer) -> bool:
        if self.steps and trainer.global_step % self.steps == 0:
            return True
        if not self.minutes:
            return False
        due = time.monotonic() - self.saved_at >= 60 * self.minutes
        if trainer.world_size == 1:
            return due
        # All ranks must save together, and asking rank 0 at every step would cost: ask now and then.
        return trainer.global_step % 50 == 0 and trainer.strategy.broadcast(due)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


def link(source: Path, target: Path) -> None:
    """Give a file a second name at once; where the file system has no links, copy it."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        part.write_bytes(source.read_bytes())
    os.replace(part, target)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain values.

    Raises:
        UserError: the file is missing, cut short, or holds something that is not data.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError) as error:
        reason = "it holds code" if "Weights only load failed" in str(error) else "cut short or altered"
        raise UserError(f"{path} is damaged ({reason}) and cannot be read.") from error


def to_continue(folder: Path) -> tuple[Path | None, int, list[str]]:
    """The newest readable checkpoint of a run's folder, its step, and what there is to say about damaged ones.

    Raises:
        UserError: there are checkpoints and none can be read.
    """
    said: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return path, read(path)["global_step"], said
        except UserError as error:
            said.append(str(error))
    if said:
        raise UserError("\n".join(said))
    return None, 0, said
