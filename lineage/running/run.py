"""One run from its directory to its results: what surrounds the call of Lightning's fit in train.py."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from lineage.anatomy.cost import count_macs, count_parameters
from lineage.datamodules.base import ImageDataModule
from lineage.errors import Stopped
from lineage.files import Lock, UserError, remove_temporary
from lineage.recipes.classifier import Classifier
from lineage.reporting import dashboards, metrics_csv, results, screen
from lineage.reporting.clock import Clock
from lineage.reporting.metric_rows import MetricRows
from lineage.reporting.notes import batch_notes, what_does_not_apply
from lineage.reporting.progress_bar import RunProgressBar
from lineage.running import checkpoints, directory, evaluations
from lineage.running.checkpoints import BEST, LAST, Checkpoints
from lineage.running.ranks import Ranks
from lineage.running.stopping import Stop
from lineage.running.trainer import Trainer
from lineage.weights.preprocessing import Preprocessing

log = logging.getLogger(__name__)


class Run:
    """The directory of a run, new or continued.

    Attributes:
        folder: the run directory; nothing is in it before `opened`.
        continues: whether it holds a checkpoint to go on from.
    """

    def __init__(self, cfg: DictConfig, preprocessing: Preprocessing) -> None:
        hydra: Any = HydraConfig.get()
        self.preprocessing = preprocessing  # of an evaluation
        self.cfg, self.folder = cfg, directory.folder_of(cfg)
        chosen, self.overrides = hydra.runtime.choices, list(hydra.overrides.task)
        self.choices = {group: str(chosen[group]) for group in ("arch", "datamodule", "recipe", "trainer")}
        if model := cfg.arch.get("model_name"):
            self.choices["arch"] += f"/{model}"  # timm/convnext_atto
        self.console = screen.console(quiet=not directory.is_main_process())
        self.continues = directory.has_checkpoint(self.folder)

    def callbacks(self) -> list[Callback]:
        """The callbacks of every run, in the order in which Lightning calls them."""
        machine, self.clock = self.cfg.trainer, Clock()
        arch = OmegaConf.to_container(self.cfg.arch, resolve=True)
        facts = {"arch": arch, "preprocessing": asdict(self.preprocessing)}
        self.rows = MetricRows(self.console, self.clock)
        return [
            Ranks(machine.timeout_s, self.folder),
            self.clock,
            RunProgressBar(self.console, self.clock),
            self.rows,  # before the callbacks that may save and stop
            Stop(machine.max_time, machine.timeout_s, self.console, str(self.cfg.run)),
            Checkpoints(
                self.folder / "checkpoints", machine.checkpoint_minutes, machine.checkpoint_steps, facts, self.cfg.best
            ),
        ]

    @contextmanager
    def opened(self, trainer: Trainer, classifier: Classifier, data: ImageDataModule) -> Iterator[Path | None]:
        """Lock the directory, open train.log, show the plan; yields the checkpoint from which the run continues."""
        os.environ["LINEAGE_RUN"] = str(self.cfg.run)  # for the ranks that Lightning starts
        with ExitStack() as stack:
            stack.callback(os.environ.pop, "LINEAGE_RUN", None)
            if directory.is_main_process():
                lock = Lock(self.folder)
                lock.acquire()
                stack.callback(lock.release)
            start = checkpoints.to_continue(self.folder / "checkpoints")
            last = (trainer.max_epochs or 0) * data.order.steps_per_epoch
            if start.step > last:
                raise UserError(
                    f"trainer.max_epochs={trainer.max_epochs}: they have {last:,} steps, and {self.folder} is at "
                    f"{start.step:,}. Give it more, or choose another name."
                )
            if start.notes:
                classifier.network.notes = start.notes
            if start.step and (before := directory.fewer_epochs(self.folder, self.cfg)):
                longer = f"from there on rates are those of {self.cfg.recipe.epochs}"  # checkpoints keep such notes
                note = f"recipe.epochs was {before} up to step {start.step:,}; {longer}"
                classifier.network.notes = [*classifier.network.notes, note]
            if directory.is_main_process():
                stack.enter_context(logged(self.folder / "train.log"))
                self._prepare_folder(trainer, start)
            for line in start.damaged:
                self.console.print(f"{line} Going on from {start.path}.", style="red", soft_wrap=True)
            self._show_plan(trainer, classifier, data, start)
            yield start.path

    def _prepare_folder(self, trainer: Trainer, start: checkpoints.Start) -> None:
        """Leave the files as they were at the step from which the run continues, and write its config."""
        for place in (self.folder, self.folder / "checkpoints"):
            remove_temporary(place)
        checkpoints.repair(self.folder / "checkpoints", start)
        tables = {logger.folder for logger in trainer.loggers if isinstance(logger, metrics_csv.MetricsCSV)}
        for folder in {self.folder, *tables}:
            metrics_csv.keep_until(folder, start.step)
        for logger in trainer.loggers:
            if start.step and isinstance(logger, dashboards.TensorBoard):
                logger.keep_until(start.step)
        (self.folder / "results.json").unlink(missing_ok=True)  # first, so that a kill leaves a longer run
        directory.save_config(self.folder, self.cfg, self.choices, self.overrides)

    def _show_plan(
        self, trainer: Trainer, classifier: Classifier, data: ImageDataModule, start: checkpoints.Start
    ) -> None:
        """Show what will run, on the screen, in train.log and in the loggers."""
        rows, self.notes = self._plan(trainer, classifier, data), self._notes(trainer, classifier, data)
        if start.path is not None:
            rows["continues"] = f"at step {start.step:,}, from {start.path.name}"
        screen.show_plan(self.console, rows, self.notes)
        log.info("  ".join(f"{name}: {value}" for name, value in rows.items()))
        for note in self.notes:
            log.info("note: %s", note)
        dashboards.tell_start(self.rows, trainer, self.cfg, self.choices, self.overrides)
        if trainer.is_global_zero:
            dashboards.show_texts(self.rows, trainer, self.overrides, rows, self.notes, start.step)
        if trainer.is_global_zero and start.path is None:
            title = f"{self.choices['datamodule']} under {self.choices['recipe']}"
            dashboards.show_first_step(self.rows, trainer, classifier, data, title)

    def _plan(self, trainer: Trainer, classifier: Classifier, data: ImageDataModule) -> dict[str, str | Path]:
        cfg, order, split, side = self.cfg, data.order, data.split, self.preprocessing.resolution
        self.parameters = count_parameters(classifier.network)
        self.macs = count_macs(classifier.network, data.channels, side)
        network = f"{self.choices['arch']}, {self.parameters:,} parameters, {self.macs / 1e6:,.1f} M MACs"
        sizes = f"{len(data.train):,} train, {len(data.val):,} validation, {len(data.test):,} test"
        steps, epochs = order.steps_per_epoch, trainer.max_epochs or 0
        per_device = cfg.recipe.batch_size // split.chunks
        rows: dict[str, str | Path] = {
            "network": f"{network} at {side}x{side}",
            "data": f"{self.choices['datamodule']}, {sizes}, {data.num_classes} classes",
            "recipe": f"{self.choices['recipe']}, {epochs} epochs of {steps:,} steps, {epochs * steps:,} in all",
            "batch": f"{per_device} per device x {split.accumulation} accumulated x {split.devices} devices"
            f" = {cfg.recipe.batch_size}",
            "device": f"{trainer.world_size} x {trainer.device_name}, {trainer.precision}"
            + (", compiled" if trainer.compile else "")
            + (", micro-batches as CUDA graphs" if classifier.captures else ""),
            "run": self.folder,
        }
        if cfg.teacher is not None:
            rows["teacher"] = f"{cfg.teacher}, {cfg.recipe.distill}, {cfg.recipe.distill_share:g} of the loss"
        return rows

    def _notes(self, trainer: Trainer, classifier: Classifier, data: ImageDataModule) -> list[str]:
        cfg, network, device = self.cfg, classifier.network, trainer.strategy.root_device
        names = self.choices["arch"], self.choices["datamodule"]
        return [
            *getattr(network, "notes", ()),
            *(note for teacher in classifier.teachers for note in teacher.notes),
            *data.notes,
            *batch_notes(cfg, network, data.split, device.type),
            *what_does_not_apply(cfg, network, names, data, device, str(trainer.precision)),
        ]

    def test(self, trainer: Trainer, classifier: Classifier, data: ImageDataModule) -> dict[str, Any]:
        """Test, write results.json, show the last table; returns what results.json holds."""
        validation = _metrics(trainer, "val_")
        stale = trainer.current_epoch % (trainer.check_val_every_n_epoch or 1) != 0  # the last epoch had no validation
        if trainer.limit_val_batches != 0 and (stale or not validation):  # or training had nothing left to do
            trainer.validate(classifier, datamodule=data, verbose=False)
            validation = _metrics(trainer, "val_")
        weights = self.folder / "checkpoints" / {"last": LAST, "best": BEST}[self.cfg.test_weights]
        record = evaluations.test(
            trainer, classifier, data, self.preprocessing, split="test", weights=self.cfg.test_weights,
            checkpoint=weights,
        )  # fmt: skip
        test, saved = dict(record.metrics), trainer.checkpoint_callback
        assert isinstance(saved, Checkpoints)
        best = {f"best_{saved.monitor}": saved.best, "best_epoch": saved.best_step // data.order.steps_per_epoch}
        best = best if saved.best_step else {}  # without validation
        found = {**test, **classifier.train_metrics, **validation, **best, **self._facts(trainer)}
        found["skipped"] = data.left_out()
        self.rows.write(trainer, {**test, "epoch": self.clock.epochs}, **best)
        if trainer.is_global_zero:
            record.write_below(self.folder)
            directory.save_results(self.folder, found)
            screen.show_results(self.console, found, record, self.folder, str(self.cfg.runs), self._dashboard())
            dashboards.tell_end(self.rows, trainer, found, record, data)
            log.info("results: %s", "  ".join(f"{name} {test[name]:.4f}" for name in test))
        self.rows.close(trainer)
        return found

    def _facts(self, trainer: Trainer) -> dict[str, Any]:
        """What results.json says beside the metrics."""
        cfg = self.cfg
        return {
            "test_weights": cfg.test_weights,
            **{group: self.choices[group] for group in ("arch", "datamodule", "recipe")},
            "overrides": self.overrides,
            "parameters": self.parameters,
            "macs": self.macs,
            "resolution": self.preprocessing.resolution,
            "epochs": self.clock.epochs,
            "steps": self.clock.steps,
            "seconds": self.clock.seconds,
            "images_per_second": self.clock.images_per_second,
            "peak_memory_bytes": results.peak_memory(trainer.strategy.root_device),
            "seed": cfg.seed,
            "device": trainer.device_name,
            "devices": trainer.world_size,
            "precision": str(trainer.precision),
            "notes": self.notes,
            "versions": results.versions(),
            "git": results.git_state(),
        }

    def _dashboard(self) -> str | None:
        """The command or file that shows the curves."""
        loggers = self.cfg.logger or {}
        if "wandb" in loggers:
            return f"wandb sync {self.folder}/wandb/*run-*, or the address above"
        if "tensorboard" in loggers:
            return f"tensorboard --logdir {self.cfg.runs}"
        return f"{self.folder}/metrics.csv" if "csv" in loggers else None


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Append what is logged meanwhile to train.log, and the error that ends it."""
    handler, root = logging.FileHandler(path, encoding="utf-8", errors="surrogateescape"), logging.getLogger()
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is reported by metrics.csv
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Stopped):
            log.error("%s", error, exc_info=error)
        raise
    finally:
        root.removeHandler(handler)
        with suppress(OSError):  # a full disk, named by the exception that ends the run
            handler.close()


def _metrics(trainer: Trainer, stage: str) -> dict[str, float]:
    found = {name: value for name, value in trainer.callback_metrics.items() if name.startswith(stage)}
    return {name: float(value) if torch.is_tensor(value) else value for name, value in found.items()}
