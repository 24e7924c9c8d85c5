"""One run from its directory to its results: what surrounds the two calls of Lightning in train.py."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from datamodules.base import ImageDataModule
from recipes.classifier import Classifier
from running import checkpoints, metrics_csv, results, screen
from running.notes import what_does_not_apply
from running.progress import Report
from running.run_directory import is_main_process, save_config, save_results
from running.trainer import Trainer

log = logging.getLogger(__name__)


class Run:
    """The directory of a run, new or continued.

    Attributes:
        folder: the run directory.
        checkpoint: the checkpoint from which the run goes on, or None.
    """

    def __init__(self, cfg: DictConfig) -> None:
        hydra: Any = HydraConfig.get()
        self.cfg, self.folder = cfg, Path(hydra.runtime.output_dir)
        self.choices = hydra.runtime.choices
        self.overrides = list(hydra.overrides.task)
        self.console = Console(quiet=not is_main_process(), width=None if sys.stdout.isatty() else 120)
        self.checkpoint, self.step, damaged = checkpoints.to_continue(self.folder / "checkpoints")
        for line in damaged:
            self.console.print(f"{line} Going on from {self.checkpoint}.", style="red")
        if is_main_process():
            metrics_csv.keep_until(self.folder, self.step)
            save_config(self.folder, cfg, self.overrides)

    def build_trainer(self, network: nn.Module) -> Trainer:
        cfg = self.cfg
        self.parameters = results.count_parameters(network)
        self.resolution = cfg.datamodule.resolution or cfg.recipe.test_res
        self.macs = results.count_macs(network, cfg.datamodule.channels, self.resolution)
        self.loggers = [instantiate(logger) for logger in (cfg.logger or {}).values()]
        self.report = Report(self.console)
        build = instantiate(cfg.trainer, _partial_=True)
        trainer: Trainer = build(
            macs=self.macs, logger=self.loggers, callbacks=[self.report], default_root_dir=self.folder
        )
        self.trainer = trainer
        return trainer

    def show_plan(self, classifier: Classifier, datamodule: ImageDataModule) -> None:
        cfg, trainer, order, split = self.cfg, self.trainer, datamodule.order, datamodule.split
        size = f"{self.resolution}x{self.resolution}"
        sizes = f"{len(datamodule.train):,} train, {len(datamodule.val):,} validation, {len(datamodule.test):,} test"
        steps = order.steps_per_epoch * (trainer.max_epochs or cfg.recipe.epochs)
        per_device = cfg.recipe.batch_size // split.chunks
        self.notes = [
            *getattr(classifier.network, "remarks", ()),
            *datamodule.facts,
            *what_does_not_apply(cfg, self.choices.arch, self.choices.datamodule, datamodule.train.in_memory),
        ]
        rows = {
            "network": f"{self.choices.arch}, {self.parameters:,} parameters, {self.macs / 1e6:,.1f} M MACs at {size}",
            "data": f"{self.choices.datamodule}, {sizes}, {datamodule.num_classes} classes",
            "recipe": f"{self.choices.recipe}, {trainer.max_epochs} epochs of {order.steps_per_epoch:,} steps, "
            f"{steps:,} in all",
            "batch": f"{per_device} per device x {split.accumulation} accumulated x {split.devices} devices"
            f" = {cfg.recipe.batch_size}",
            "device": f"{trainer.world_size} x {trainer.device_name}, {trainer.precision}"
            + (", compiled" if trainer.compile else ""),
            "run": str(self._shown_folder()),
        }
        if self.checkpoint is not None:
            rows["continues"] = f"at step {self.step:,}, from {self.checkpoint.name}"
        screen.show_plan(self.console, rows, self.notes)
        log.info("  ".join(f"{name}: {value}" for name, value in rows.items()))
        for note in self.notes:
            log.info("note: %s", note)

    def test(self, classifier: Classifier, datamodule: ImageDataModule) -> float:
        """Test, write results.json, show the last table; returns the validation accuracy, for sweepers."""
        trainer, cfg = self.trainer, self.cfg
        validation = _metrics(trainer, "val_")
        if not validation:  # continued after its last epoch: training had nothing left to do
            trainer.validate(classifier, datamodule=datamodule, verbose=False)
            validation = _metrics(trainer, "val_")
        if cfg.test_weights == "best":
            state = checkpoints.read(self.folder / "checkpoints" / checkpoints.BEST)
            classifier.load_state_dict(state["state_dict"])
            classifier.on_load_checkpoint(state)
        trainer.test(classifier, datamodule=datamodule, verbose=False)
        test = _metrics(trainer, "test_")
        for logger in trainer.loggers:
            logger.log_metrics({**test, "epoch": trainer.current_epoch}, trainer.global_step)
            logger.finalize("success")
        if not trainer.is_global_zero:
            return validation["val_top1"]

        found = {
            **test,
            **classifier.train_metrics,
            **validation,
            "test_weights": cfg.test_weights,
            **{group: self.choices[group] for group in ("arch", "datamodule", "recipe")},
            "overrides": self.overrides,
            "parameters": self.parameters,
            "macs": self.macs,
            "resolution": self.resolution,
            "epochs": trainer.max_epochs,
            "steps": self.report.steps,
            "seconds": self.report.seconds,
            "images_per_second": self.report.images_per_second,
            "peak_memory_bytes": results.peak_memory(trainer.strategy.root_device),
            "seed": cfg.seed,
            "device": trainer.device_name,
            "devices": trainer.world_size,
            "precision": str(trainer.precision),
            "notes": self.notes,
            "versions": results.versions(),
            "git": results.git_state(),
        }
        save_results(self.folder, found)
        screen.show_results(self.console, found, str(self._shown_folder()), self._dashboard())
        log.info("results: %s", "  ".join(f"{name} {test[name]:.4f}" for name in test))
        return validation["val_top1"]

    def _shown_folder(self) -> Path:
        return self.folder.relative_to(Path.cwd()) if self.folder.is_relative_to(Path.cwd()) else self.folder

    def _dashboard(self) -> str | None:
        """The one command that opens the curves."""
        loggers = self.cfg.logger or {}
        if "wandb" in loggers:
            return f"wandb sync {self._shown_folder()}/wandb/*run-*, or the address above"
        if "tensorboard" in loggers:
            return "tensorboard --logdir runs"
        return f"{self._shown_folder()}/metrics.csv" if "csv" in loggers else None


def _metrics(trainer: Trainer, stage: str) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(stage)}
