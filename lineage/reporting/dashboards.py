"""What TensorBoard, Weights & Biases and other loggers of Lightning's are told, beside the rows of metrics."""

import hashlib
import netrc
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lineage.analysis import contact_sheet
from lineage.analysis.record import Record
from lineage.datamodules.base import ImageDataModule
from lineage.errors import UserError
from lineage.recipes.classifier import Classifier
from lineage.reporting.dataset_summary import augmentation
from lineage.reporting.metric_rows import MetricRows
from lineage.reporting.training_images import evaluation_images, pairs
from lineage.text import flat

NOT_CHOSEN = ("run", "runs", "logger", "callbacks", "published", "plugins")  # keys that are no hyperparameters
SHOWN, WRONG = 8, 24  # images of the first step, and wrong ones at the end
PREDICTIONS = 500  # rows of wandb's table
# Charts of several curves, in the tab Custom Scalars.
LAYOUT = {
    "training and validation": {
        name: ["Multiline", [f"{name}/{curve}" for curve in ("train", "val", "average")]] for name in ("loss", "top1")
    }
}


def tell_start(
    rows: MetricRows, trainer: Any, cfg: DictConfig, choices: Mapping[str, str], overrides: Sequence[str]
) -> None:
    """Tell all loggers the hyperparameters: TensorBoard, which makes columns of them, those that the command chose."""
    every = hyperparameters(cfg, choices)
    keys = {override.split("=")[0].lstrip("+~") for override in overrides}
    chosen = {name: value for name, value in every.items() if name in choices or name in keys}
    rows.each(trainer, lambda one: one.log_hyperparams(chosen if isinstance(one, TensorBoard) else every))


def hyperparameters(cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """The names of the choices, and every value by its dotted key."""
    found = {**choices, **flat("", OmegaConf.to_container(cfg, resolve=True))}
    return {key: value for key, value in found.items() if key.split(".")[0] not in NOT_CHOSEN and "_target_" not in key}


def show_texts(
    rows: MetricRows, trainer: Any, overrides: Sequence[str], plan: Mapping[str, Any], notes: Sequence[str], step: int
) -> None:
    """Show what runs from a step on: command, plan and notes."""
    texts = {
        "command": f"    {shlex.join(['python', 'train.py', *overrides])}",
        "plan": "\n".join(f"- **{name}**: {value}" for name, value in plan.items()),
        "notes": "\n".join(f"- {note}" for note in notes),
    }
    rows.each(trainer, lambda one: one.log_texts(texts, step), TensorBoard)


def show_first_step(rows: MetricRows, trainer: Any, classifier: Classifier, data: ImageDataModule, title: str) -> None:
    """Show the images of the first step, as lineage preview does."""
    if not any(isinstance(logger, PICTURED) for logger in trainer.loggers):
        return
    data.trainer, heads = trainer, ("evaluation", "training, first step")
    with torch.no_grad(), suppress(UserError):  # training says what cannot be read
        seen = pairs(data, classifier, SHOWN, 0, 0)
        groups, subtitle = [pair.cells() for pair in seen], augmentation(classifier.recipe)
        sheet = contact_sheet.sheet(groups, title, subtitle, heads)
        _log_image(rows, trainer, "images of the first step", sheet)


def tell_end(rows: MetricRows, trainer: Any, results: Mapping[str, Any], record: Record, data: ImageDataModule) -> None:
    """Show what was confused, and the images most confidently wrong; wandb gets results and predictions too."""
    if any(isinstance(logger, PICTURED) for logger in trainer.loggers):
        from lineage.analysis.charts import confusion  # imports matplotlib

        _log_image(rows, trainer, "test/confusion", confusion(record))
        if wrong := record.most_confidently_wrong(WRONG):
            images = evaluation_images(data, torch.from_numpy(record.columns["index"][wrong]).long(), data.test)
            sheet = contact_sheet.wrong_images(record, wrong, list(images))
            _log_image(rows, trainer, "test/most confidently wrong", sheet)
    rows.each(trainer, lambda one: one.end(results, record), Wandb)


def _log_image(rows: MetricRows, trainer: Any, name: str, image: Any) -> None:
    rows.each(trainer, lambda one: one.log_image(name, [image], trainer.global_step), PICTURED)


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, which writes into the folder of the run, so that TensorBoard calls the run by its name. The
    curves of a run that was killed and continued have no duplicate steps."""

    session_end: Any = None

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Show the run in the tab HParams, beside the others: without a list of columns, which would be one run's,
        TensorBoard shows the parameters and metrics of all."""
        from torch.utils.tensorboard.summary import hparams

        plain = {name: value if isinstance(value, int | float) else str(value) for name, value in params.items()}
        _, start, self.session_end = hparams(plain, {})
        self.experiment._get_file_writer().add_summary(start)
        self.experiment.add_custom_scalars(LAYOUT)

    def log_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Write Markdown, by the name of its text."""
        for name, text in texts.items():
            self.experiment.add_text(name, text, step)

    def log_image(self, key: str, images: list[Any], step: int) -> None:
        """Show pictures of Pillow's, as Lightning's WandbLogger does."""
        for image in images:
            self.experiment.add_image(key, numpy.asarray(image), step, dataformats="HWC")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self.session_end is not None and status == "success":
            self.experiment._get_file_writer().add_summary(self.session_end)
        super().finalize(status)

    def save(self) -> None:
        """Only flush: config.yaml has the hyperparameters."""
        self.experiment.flush()

    def keep_until(self, step: int) -> None:
        """Let TensorBoard hide earlier records of steps after `step`. To be called before anything is logged."""
        self._order_files(int(time.time()))
        self._kwargs["purge_step"] = step + 1
        _ = self.experiment  # opens the file, which states the step to hide from
        del self._kwargs["purge_step"]

    def _order_files(self, now: int) -> None:
        """TensorBoard reads files in the order of the seconds in their names: where the clock was put back, the earlier
        files get names that come before the next one's."""
        files = sorted(Path(self.log_dir).glob("events.out.tfevents.*"), reverse=True)
        if files and int(files[0].name.split(".")[3]) >= now:
            for age, file in enumerate(files, start=1):
                *kind, _, rest = file.name.split(".", 4)
                file.rename(file.with_name(".".join([*kind, f"{now - age:010d}", rest])))


class Wandb(WandbLogger):
    """A logger whose wandb run belongs to the run directory: a continued run continues it, also if it was moved.

    Without a key it works offline, where wandb would ask for one.

    Args:
        folder: the run directory.
        entity: None: that of the key.
        group: None: in a sweep its name.
        log_model: whether best.ckpt becomes an artifact.
    """

    def __init__(
        self, folder: str, project: str, entity: str | None, name: str | None, group: str | None, tags: list[str],
        job_type: str | None, notes: str | None, log_model: Literal["none", "best"],
    ) -> None:  # fmt: skip
        if offline := os.environ.get("WANDB_MODE") != "online" and not has_key():
            pattern = Path(folder) / "wandb" / "*run-*"
            print(f"wandb: no key on this machine, so the run stays offline; afterwards: wandb sync {pattern}")
        self.folder, self.sends_best = Path(folder), log_model == "best"
        if (self.folder.parent / "sweep.jsonl").exists():
            group = group or self.folder.parent.name
        super().__init__(
            project=project, entity=entity, name=name, group=group, tags=list(tags), job_type=job_type, notes=notes,
            id=self._id_of_run(), save_dir=folder, offline=offline, resume=None if offline else "allow",
        )  # fmt: skip

    def _id_of_run(self) -> str:
        """That of wandb's agent in a sweep of its own, or of an earlier start, or made of the folder's name."""
        earlier = sorted(path.name.rpartition("-")[2] for path in self.folder.glob("wandb/*run-*-*"))
        name = str(self.folder.resolve()).encode()
        made = earlier[0] if earlier else hashlib.blake2b(name, digest_size=8).hexdigest()
        return os.environ.get("WANDB_RUN_ID") or made

    def end(self, results: Mapping[str, Any], record: Record) -> None:
        """Put the results into the summary, write a table of the predictions with the largest loss, send the best
        weights if they are wanted, and end wandb's run."""
        import wandb

        run, columns, names = self.experiment, record.columns, record.classes
        run.summary.update({name: value for name, value in results.items() if isinstance(value, int | float | str)})
        table = wandb.Table(columns=["index", "path", "class", "prediction", "probability", "loss"])
        for row in numpy.argsort(-columns["loss"], kind="stable")[:PREDICTIONS].tolist():
            classes = names[int(record.label[row])], names[int(record.predicted[row])]
            numbers = float(record.confidence[row]), float(columns["loss"][row])
            table.add_data(
                int(columns["index"][row]), columns["path"][row].decode("utf-8", "replace"), *classes, *numbers
            )
        run.log({"predictions": table})
        best = self.folder / "checkpoints" / "best.ckpt"
        if self.sends_best and best.exists():
            artifact = wandb.Artifact(f"{run.id}-best", "model", metadata={"epoch": results.get("best_epoch")})
            artifact.add_file(str(best))
            run.log_artifact(artifact)
        run.finish()


def has_key() -> bool:
    """Whether the environment or ~/.netrc has a key, so that wandb does not ask for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False


PICTURED = (TensorBoard, WandbLogger)  # loggers that show pictures
