"""What of the config does not apply to this run. Nothing is ignored in silence: the run says it once."""

from __future__ import annotations

import math
from typing import cast

from omegaconf import DictConfig, OmegaConf
from torch import nn

from lineage.datamodules.loading.order import BatchSplit
from lineage.recipes.optim.averaging import remaining_initial_weight
from lineage.recipes.optim.batch_norm_statistics import batch_norms
from lineage.recipes.optim.optimizers import parameter_kinds
from lineage.recipes.recipe import Recipe
from lineage.text import as_yaml

# What a recipe asks of the network, and the argument by which a network takes it.
ASKED_OF_ARCH = {
    "drop_path": "it has no residual branch to drop",
    "dropout": "it has no dropout",
    "zero_init_last": "it has no residual branch that could start at zero",
}


def what_does_not_apply(
    cfg: DictConfig, network: nn.Module, arch: str, data: str, one_size: bool, steps_per_epoch: int
) -> list[str]:
    """Sentences for the first screen and results.json."""
    return [
        *_of_network(cfg, arch),
        *_of_layers(cfg, network, arch),
        *_of_data(cfg, data),
        *_of_procedure(cfg.recipe, steps_per_epoch),
        *_of_size(cfg, arch, data, one_size),
        *_of_averages(cfg, steps_per_epoch),
    ]


def class_notes(learned: list[str] | None, here: list[str]) -> list[str]:
    """Where the weights tell other classes apart than the data have, or count them in another order."""
    for number, (name, other) in enumerate(zip(learned or (), here, strict=False)):
        if name != other:
            return [
                f"class {number} is {name} of the weights, and {other} of these data: what is right counts as wrong"
            ]
    return []


def batch_notes(cfg: DictConfig, network: nn.Module, split: BatchSplit, max_per_device: int) -> list[str]:
    """Micro-batches that are much smaller than they may be, and what cannot act on those of one image."""
    batch_size = cfg.recipe.batch_size
    share, images = batch_size // split.devices, batch_size // split.chunks
    notes, most = [], max_per_device * split.devices
    if 4 * images <= min(share, max_per_device):
        near = max(round(batch_size / most), 1) * most
        notes.append(
            f"micro-batches of {images}: {share} has no other divisor up to trainer.max_per_device={max_per_device}; "
            f"recipe.batch_size={near} has"
        )
    if images == 1:
        mixes = [f"recipe.{name}" for name in ("mixup_alpha", "cutmix_alpha") if cfg.recipe[name]]
        if mixes:
            notes.append(f"{' and '.join(mixes)} mix nothing: a micro-batch of one image has no partner")
        if batch_norms(network):
            notes.append("batch normalisation sees each image alone: micro-batches are of one image")
    return notes


def resolution_notes(cfg: DictConfig, largest: int | None) -> list[str]:
    """Sizes that no image has."""
    sizes = {name: cfg.recipe[name] for name in ("train_res", "test_res") if cfg.recipe[name] > (largest or math.inf)}
    said = " and ".join(f"recipe.{name}={size}" for name, size in sizes.items())
    return [f"{said} enlarge every image: their shorter sides have {largest} pixels at most"] if sizes else []


def _of_network(cfg: DictConfig, arch: str) -> list[str]:
    notes = []
    if cfg.recipe.zero_init_last and "zero_init_last" in cfg.arch and cfg.pretrained:
        notes.append("recipe.zero_init_last=true does not apply: the pretrained weights take its place")
    for name, why in ASKED_OF_ARCH.items():
        if cfg.recipe[name] and name not in cfg.arch:
            notes.append(f"recipe.{name}={cfg.recipe[name]} does not apply to {arch}: {why}")
    for name, value in (cfg.published.get(cfg.pretrained) or {}).items() if cfg.pretrained else ():
        if name != "name":
            notes.append(f"arch.{name}={value}, as {cfg.pretrained}'s weights need it")
    return notes


def _of_layers(cfg: DictConfig, network: nn.Module, arch: str) -> list[str]:
    present = parameter_kinds(network)
    absent = {
        "no_decay_depthwise": "" if "depthwise" in present else "it trains no depthwise filters",
        "norm_bias_lr_factor": "" if "norm_bias" in present else "it trains no biases of normalisation",
        "precise_bn": "" if batch_norms(network) else "it has no batch normalisation",
    }
    if cfg.recipe.finetune:
        why = "recipe.finetune leaves all but the classifier in evaluation mode"
        absent |= {name: why for name in ("dropout", "drop_path") if name in cfg.arch}
        absent["layer_decay"] = "recipe.finetune trains the last layer alone"
    return [
        f"recipe.{name}={cfg.recipe[name]} does not apply to {arch}: {why}"
        for name, why in absent.items()
        if why and cfg.recipe[name]
    ]


def _of_data(cfg: DictConfig, data: str) -> list[str]:
    recipe, notes = cfg.recipe, []
    if recipe.hflip and not cfg.datamodule.mirror:
        notes.append(f"recipe.hflip={recipe.hflip} is off: a mirrored image of {data} is not of its class")
    if recipe.test_views and not cfg.datamodule.mirror:
        notes.append(f"recipe.test_views={recipe.test_views} is off: a mirrored image of {data} is not of its class")
    if recipe.pca_lighting and cfg.datamodule.channels != 3:
        notes.append(f"recipe.pca_lighting={recipe.pca_lighting} is off: {data} has no colour")
    if cfg.datamodule.get("max_errors") and cfg.datamodule.on_error == "fail":
        notes.append(f"datamodule.max_errors={cfg.datamodule.max_errors} does not apply: datamodule.on_error=fail")
    if cfg.datamodule.get("cache") and "://" not in str(cfg.datamodule.root):
        notes.append(f"datamodule.cache={cfg.datamodule.cache} does not apply: {data} is read from a folder")
    if cfg.datamodule.val_size == 0:
        notes.append("validation is the test set (datamodule.val_size=0)")
    return notes


def _of_procedure(recipe: DictConfig, steps_per_epoch: int) -> list[str]:
    """Keys that would act later than the run ends, or through others that are off."""
    notes, ends = [], recipe.epochs - (recipe.warmup_epochs if recipe.after_warmup else 0)
    last = ends - (1 if recipe.schedule_interval == "epoch" else 1 / steps_per_epoch)  # when the rate is told last
    late = [at for at in recipe.decay_epochs if at > last] if recipe.schedule in ("step", "multistep", "list") else []
    if late:
        notes.append(
            f"recipe.decay_epochs={as_yaml(list(recipe.decay_epochs))}: the last epoch begins before {late[0]:g}"
        )
    if recipe.bce_threshold and not (recipe.mixup_alpha or recipe.cutmix_alpha):
        notes.append(f"recipe.bce_threshold={recipe.bce_threshold:g} changes nothing: unmixed targets are 0 and 1")
    return notes


def _of_averages(cfg: DictConfig, steps_per_epoch: int) -> list[str]:
    """Which weights count, and whether an average gets away from the initial ones."""
    recipe, notes = cast(Recipe, OmegaConf.to_object(cfg.recipe)), []
    if recipe.ema or recipe.swa:
        kind = "ema" if recipe.ema else "swa"
        notes.append(
            f"val_top1, best.ckpt and the test are of the averaged weights (recipe.{kind}); val_raw_top1 is not"
        )
    if recipe.precise_bn > steps_per_epoch * recipe.batch_size:
        notes.append(f"recipe.precise_bn={recipe.precise_bn} is of fewer images: an epoch has no more")
    share = remaining_initial_weight(recipe, recipe.total_epochs * steps_per_epoch, steps_per_epoch)
    if share > 0.01:
        notes.append(
            f"recipe.ema={recipe.ema:g}: in the end {share:.0%} of the average are still the initial weights; "
            "recipe.ema_ramp=true follows faster at first"
        )
    return notes


def _of_size(cfg: DictConfig, arch: str, data: str, one_size: bool) -> list[str]:
    recipe, side = cfg.recipe, cfg.datamodule.resolution
    if not one_size:
        published, notes = cfg.published.resolution, []
        if recipe.test_res != published:
            notes.append(f"{arch} was published at {published}, and is tested at {recipe.test_res}")
        if recipe.train_res != published:
            notes.append(f"{arch} was published at {published}, and is trained at {recipe.train_res}")
        return notes
    unread = ["test_res"] if recipe.test_res != side else []
    acts = recipe.crop == "scale_jitter" or recipe.progressive_res  # on boxes and sizes, which are relative to it
    if recipe.train_res != side and not acts:
        unread.insert(0, "train_res")
    if recipe.test_crop_ratio != 1:
        unread.append("test_crop_ratio")
    if recipe.crop in ("none", "pad") and not (recipe.rand_augment or recipe.auto_augment):
        unread.append("interpolation")
    if recipe.test_interpolation:
        unread.append("test_interpolation")
    names = ", ".join(f"recipe.{name}={recipe[name]}" for name in unread)
    does = "does" if len(unread) == 1 else "do"
    return [f"{names} {does} not apply: {data} keeps its {side}x{side}"] if unread else []
