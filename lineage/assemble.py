"""Builds the parts of a run from its config, for the verbs, the tests and the benchmarks.

archs, datamodules and recipes do not import each other; this module passes plain arguments between them. Every
function takes a config that was checked and completed (lineage/config/checks.py, lineage/config/completion.py) and
writes nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from lineage.anatomy.cost import SkipInitialisation, count_macs, count_parameters
from lineage.archs.arguments import ArchitectureError
from lineage.archs.network import check_contract
from lineage.config.derived import eval_preprocessing, eval_size, pretrained_preprocessing, saved_weights, smallest_size
from lineage.config.distillation import is_unfinished, teacher_config
from lineage.datamodules.loading.order import EpochOrder, check_last_step, image_weights, split_batch
from lineage.errors import UserError
from lineage.recipes.augment.device import Normalise
from lineage.recipes.augment.host import EvalCrop, build_augmentation
from lineage.recipes.distillation import Teacher
from lineage.recipes.losses import class_weights
from lineage.recipes.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

    from lineage.datamodules.base import ImageDataModule
    from lineage.recipes.classifier import Classifier  # imports Lightning, which lineage describe does without
    from lineage.recipes.evaluation import Evaluator
    from lineage.running.trainer import Trainer

EVALUATION_PIXELS = 256 * 224 * 224  # most of a forward pass without gradients
# And most images. A CPU takes 1.5 to 1.8 times as long for 2000 of CIFAR's at once as for 8 times 250, in its caches.
EVALUATION_IMAGES, EVALUATION_IMAGES_CPU = 2000, 256


def recipe(cfg: DictConfig) -> Recipe:
    return cast(Recipe, OmegaConf.to_object(cfg.recipe))


def network(cfg: DictConfig, *, weights: bool = False, new_head: bool = True, device: str | None = None) -> nn.Module:
    """The network, with random weights that are a function of the seed.

    Args:
        weights: whether to fill it with `pretrained`, if the command names any.
        new_head: whether weights of another number of classes get a new classifier, or are an error.
        device: where its tensors are made; "meta": without memory.

    Raises:
        UserError: the data's images are too small for it.
        ArchitectureError: an argument, or the weights, do not fit it.
    """
    torch.manual_seed(cfg.seed)
    with torch.device(device or "cpu"), SkipInitialisation() if device == "meta" else nullcontext():
        built = instantiate(cfg.arch)
    check_contract(built)
    built.notes = [*built.notes]  # for the run's first screen
    side, source = smallest_size(cfg)
    if side < built.min_size:
        least = f"{type(built).__name__} needs images of at least {built.min_size}x{built.min_size}"
        raise UserError(f"{least}; {source} is too small.")
    if weights and cfg.pretrained is not None:
        from lineage.weights.released import load

        shown = eval_preprocessing(cfg)
        built.notes += load(built, str(cfg.pretrained), cfg.arch, cfg.published, shown, new_head=new_head)
    if cfg.freeze is not None:
        from lineage.weights.freezing import freeze

        built.notes.append(freeze(built, cfg.freeze))
    return built


def cost(cfg: DictConfig) -> tuple[int, int]:
    """The network's parameters, and its multiply-adds of one image; no tensor takes memory."""
    built = network(cfg, device="meta")
    return count_parameters(built), count_macs(built, cfg.datamodule.channels, eval_size(cfg))


def teacher(cfg: DictConfig) -> Teacher:
    """The network that a distillation learns from, with its weights, in evaluation mode. It gets the student's
    images, normalised with the mean and deviation of its own training.

    Raises:
        UserError: there is none, or it has other classes.
    """
    teacher_cfg = teacher_config(cfg)
    student = list(cfg.datamodule.mean), list(cfg.datamodule.std)
    try:
        record = pretrained_preprocessing(teacher_cfg)
        if record is not None and len(record.mean) == len(student[0]):
            teacher_cfg.datamodule.mean, teacher_cfg.datamodule.std = list(record.mean), list(record.std)
        built: Any = network(teacher_cfg, weights=True, new_head=False)
    except ArchitectureError as error:  # its advice is about pretrained=
        sentence = str(error).removeprefix(f"pretrained={teacher_cfg.pretrained}: ").partition(" Download")[0]
        raise UserError(f"teacher={cfg.teacher}: {sentence}") from error
    own = list(teacher_cfg.datamodule.mean), list(teacher_cfg.datamodule.std)
    notes = ["the teacher has " + note.removeprefix("starts from ") for note in built.notes]
    if is_unfinished(cfg):
        notes.append("the teacher is a run that is not finished: its weights are those that it saved last")
    return Teacher(built.requires_grad_(False).eval(), own, student, notes)


def data(cfg: DictConfig, *, only_test: bool = False) -> ImageDataModule:
    """The data set, read and split.

    Args:
        only_test: whether the data are for an evaluation, where classes are matched with the weights' by name.

    Raises:
        DataError: files are missing or damaged.
    """
    built = instantiate(cfg.datamodule)
    saved = saved_weights(cfg) if only_test else None
    if saved and len(saved.classes or ()) == built.num_classes:
        built.learned, built.trained_on = saved.classes, saved.trained_on
    built.load()
    return built


def class_names(cfg: DictConfig) -> list[str]:
    """A name for each class: the weights' if their file has them, else the data set's; numbers without its files."""
    saved = saved_weights(cfg)
    if saved and saved.classes and len(saved.classes) == cfg.datamodule.num_classes:
        return saved.classes
    return instantiate(cfg.datamodule).class_names()


def trainer(
    cfg: DictConfig, network: nn.Module, *, loggers: bool = False, callbacks: Sequence[Callback] = ()
) -> Trainer:
    """Lightning's Trainer on this machine's devices.

    Args:
        loggers: whether to build the config's `logger` and `callbacks`.
        callbacks: further ones.

    Raises:
        UserError: this machine has no such devices.
    """
    macs = count_macs(network, cfg.datamodule.channels, eval_size(cfg))
    chosen = [instantiate(node) for node in (cfg.callbacks or {}).values()] if loggers else []
    return instantiate(cfg.trainer, _partial_=True)(
        macs=macs,
        logger=[instantiate(node) for node in (cfg.logger or {}).values()] if loggers else [],
        callbacks=[*chosen, *callbacks],
        default_root_dir=Path(str(cfg.runs)) / str(cfg.run) if loggers else Path.cwd(),
    )


def classifier(cfg: DictConfig, network: nn.Module, data: ImageDataModule, trainer: Trainer) -> Classifier:
    """The module that Lightning trains; also connects the data to its order, split and augmentation.

    Raises:
        RecipeError, DataError: the recipe does not suit the data or the number of devices.
    """
    from lineage.recipes.classifier import Classifier

    procedure, images, seed = _without_mirroring(recipe(cfg), data), data.train, cfg.seed
    if procedure.loss == "rbf" and not getattr(network, "logits_are_distances", False):
        raise RecipeError("recipe.loss=rbf: it needs distances to codes, which arch=lenet5 arch.variant=1998 returns.")
    order = EpochOrder(
        len(images), procedure.batch_size, procedure.repeated_aug, procedure.drop_last, seed, procedure.passes,
        window=data.window, limit=trainer.limit_of_steps,
        weights=image_weights(images.labels.numpy(), procedure.sampling),
    )  # fmt: skip
    split = split_batch(procedure.batch_size, procedure.device_batch, trainer.world_size, trainer.max_per_device)
    check_last_step(order, split)

    view, augment = build_augmentation(procedure, one_size=images.one_size, seed=seed, mean=data.mean, std=data.std)
    data.connect_training(order, split, view, procedure.total_epochs)
    _connect_evaluation(cfg, data, trainer)
    _prepare(network, trainer)
    built = Classifier(
        network, procedure, augment, data.training_images, num_classes=data.num_classes, seed=seed,
        steps_per_epoch=order.steps_per_epoch, from_scratch=cfg.pretrained is None,
        channels_last=trainer.channels_last, exact=_has_float64(trainer),
        teacher=teacher(cfg) if procedure.distill else None,
        class_weights=class_weights(procedure, images.labels, data.num_classes),
    )  # fmt: skip
    built.captures = trainer.captures(network, procedure.batch_size // split.chunks)
    return built


def evaluator(cfg: DictConfig, network: nn.Module, data: ImageDataModule, trainer: Trainer) -> Evaluator:
    """The module that Lightning tests. It uses the recipe's loss and its settings of the test only."""
    from lineage.recipes.evaluation import Evaluator

    _connect_evaluation(cfg, data, trainer)
    _prepare(network, trainer)
    return Evaluator(
        network, _without_mirroring(recipe(cfg), data), Normalise(data.mean, data.std), num_classes=data.num_classes,
        channels_last=trainer.channels_last, exact=_has_float64(trainer),
    )  # fmt: skip


def _without_mirroring(procedure: Recipe, data: ImageDataModule) -> Recipe:
    """The recipe, without mirroring if a mirrored image of these data does not belong to its class."""
    return procedure if data.mirror else dataclasses.replace(procedure, hflip=0.0, test_views="", val_views="")


def _connect_evaluation(cfg: DictConfig, data: ImageDataModule, trainer: Trainer) -> None:
    view = None if data.test.one_size else EvalCrop(recipe(cfg), exact=getattr(data, "exact_evaluation", True))
    batch = evaluation_batch(cfg, trainer.strategy.root_device)
    for split, images in (("val", data.val), ("test", data.test)):
        limit, batches = getattr(trainer, f"limit_{split}_batches"), math.ceil(len(images) / batch / trainer.world_size)
        if isinstance(limit, float) and 0 < limit * batches < 1:
            raise UserError(f"trainer.limit_{split}_batches={limit:g}: it leaves none of {batches} batches.")
    data.connect_evaluation(batch, view)


def evaluation_batch(cfg: DictConfig, device: torch.device) -> int:
    """Images of a forward pass without gradients."""
    most = EVALUATION_IMAGES_CPU if device.type == "cpu" else EVALUATION_IMAGES
    return max(min(EVALUATION_PIXELS // eval_size(cfg) ** 2, most, cfg.trainer.max_per_device or most), 1)


def _has_float64(trainer: Trainer) -> bool:
    return trainer.strategy.root_device.type != "mps"


def _prepare(network: nn.Module, trainer: Trainer) -> None:
    if trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    if mode := trainer.compile:
        _compile(network, "default" if mode is True else mode)


def _compile(network: nn.Module, mode: str) -> None:
    """Compile the network, once for all sizes of a batch: nn.Module.compile, which changes neither names in checkpoints
    nor copies either, would compile again for an epoch's smaller last batch."""
    compiled = torch.compile(network._call_impl, mode=mode)

    def call(images: Tensor) -> Any:
        torch._dynamo.maybe_mark_dynamic(images, 0)
        return compiled(images)

    network._compiled_call_impl = call
