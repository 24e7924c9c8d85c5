"""Notes on settings that have no effect, or an unexpected one, in this run. Those that act on the result begin with
CAREFUL or DANGER."""

import math
from typing import cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lineage.analysis.measures import wilson
from lineage.datamodules.loading.order import BatchSplit
from lineage.recipes.optim.averaging import remaining_initial_weight
from lineage.recipes.optim.batch_norm_statistics import batch_norms
from lineage.recipes.optim.optimizers import parameter_kinds
from lineage.recipes.recipe import Recipe
from lineage.text import CAREFUL, DANGER, as_yaml

FEW = 100  # test images, of which even the best network's accuracy is uncertain by some percent
FILLS_A_GPU = 128 * 224 * 224  # pixels of a forward pass that leave no unit of a large GPU without work
SMALL_IMAGES = 64  # pixels; a network for these sees little of a photograph

# Recipe keys that are arguments of a network, and why a network lacks them.
NETWORK_ARGUMENTS = {
    "drop_path": "it has no residual branch to drop",
    "dropout": "it has no dropout",
    "zero_init_last": "it has no residual branch that could start at zero",
}


def what_does_not_apply(
    cfg: DictConfig, network: nn.Module, arch: str, data: str, one_size: bool, steps_per_epoch: int
) -> list[str]:
    """All notes that follow from the config, the network and the length of an epoch.

    Args:
        arch, data: the names of the choices, for the sentences.
        one_size: whether all training images have one size.
    """
    recipe = cast(Recipe, OmegaConf.to_object(cfg.recipe))
    return [
        *_argument_notes(cfg, arch),
        *_layer_notes(cfg, network, arch),
        *_data_notes(cfg, data),
        *_schedule_notes(recipe, steps_per_epoch),
        *_size_notes(cfg, arch, data, one_size),
        *_averaging_notes(recipe, steps_per_epoch),
    ]


def class_notes(learned: list[str] | None, here: list[str]) -> list[str]:
    """A note if the weights' classes differ from those of the data, or have another order."""
    for number, (theirs, ours) in enumerate(zip(learned or (), here, strict=False)):
        if theirs != ours:
            differ = f"class {number} is {theirs} in the weights and {ours} in these data"
            return [f"{DANGER}{differ}: right answers count as wrong"]
    return []


def batch_notes(cfg: DictConfig, network: nn.Module, split: BatchSplit, device: str) -> list[str]:
    """Notes on micro-batches of fewer images than the recipe's, or than a GPU ("cuda", "mps") needs, and on those of
    one image."""
    recipe, machine, normalises = cfg.recipe, cfg.trainer, bool(batch_norms(network))
    mixes = " and ".join(f"recipe.{name}" for name in ("mixup_alpha", "cutmix_alpha") if recipe[name])
    acting = ["batch normalisation"] * (normalises and not machine.sync_batchnorm)
    sees = " and ".join(acting + ["mixing"] * bool(mixes and recipe.mix_per == "chunk"))

    share, images = recipe.batch_size // split.devices, recipe.batch_size // split.chunks
    wanted = min(recipe.device_batch or recipe.batch_size, recipe.batch_size)
    most, side = min(wanted, share, machine.max_per_device or share), cfg.datamodule.resolution or recipe.train_res
    notes = []
    if 4 * images <= most:
        near = max(round(share / most), 1) * most * split.devices
        why = f"{share} has no other divisor up to {most}; recipe.batch_size={near} has"
        notes.append(f"{CAREFUL}micro-batches of {images}: {why}")
    if sees and images > 1 and most < wanted:
        remedies = [f"trainer.max_per_device={wanted}"] * ((machine.max_per_device or wanted) < wanted)
        remedies += ["fewer devices"] * (share < wanted)
        remedies += ["trainer.sync_batchnorm=true"] * (share < wanted and sees != "mixing")
        remedy = f"{' or '.join(remedies)} changes it"
        notes.append(f"{CAREFUL}{sees}: {images} images at once, and {wanted} by the recipe; {remedy}")
    if device != "cpu" and images == wanted < share and images * side**2 < FILLS_A_GPU:
        notes.append(
            f"{split.accumulation} forward passes of {images} images are a step, as on the paper's devices; "
            f"recipe.device_batch={share} takes a faster one, and changes {sees or 'nothing else'}"
        )
    if images == 1 and mixes:
        notes.append(f"{CAREFUL}{mixes} mix nothing: a micro-batch of one image has no partner")
    if images == 1 and normalises:
        notes.append(f"{CAREFUL}batch normalisation sees each image alone: micro-batches are of one image")
    return notes


def precision_notes(recipe: DictConfig, device: torch.device, precision: str) -> list[str]:
    """A note on what fp32 is on a GPU, where the recipe asks for it (lineage/running/trainer.py sets it)."""
    if recipe.mixed_precision or device.type != "cuda" or precision != "32-true":
        return []
    has_tf32 = torch.cuda.get_device_capability(device) >= (8, 0) and torch.backends.cudnn.allow_tf32
    how, gain = ("TF32", "bf16 has twice its rate") if has_tf32 else ("fp32", "16 bits are faster")
    return [
        f"recipe.mixed_precision=false, as published: convolutions run at {how}; {gain}, recipe.mixed_precision=true"
    ]


def resolution_notes(cfg: DictConfig, largest: int | None) -> list[str]:
    """A note on resolutions above the largest short side of all images, if that is known."""
    sizes = {name: cfg.recipe[name] for name in ("train_res", "test_res") if cfg.recipe[name] > (largest or math.inf)}
    settings = " and ".join(f"recipe.{name}={size}" for name, size in sizes.items())
    said = f"{CAREFUL}{settings} enlarge every image: their shorter sides have {largest} pixels at most"
    return [said] if sizes else []


def small_test_notes(images: int) -> list[str]:
    """A note on a test set that is too small to tell networks apart."""
    if not 0 < images < FEW:
        return []
    low, high = wilson(round(0.9 * images), images)
    return [f"{DANGER}the test has {images} images: an accuracy of 0.9 may be anything from {low:.2f} to {high:.2f}"]


def _argument_notes(cfg: DictConfig, arch: str) -> list[str]:
    notes = []
    if cfg.recipe.zero_init_last and "zero_init_last" in cfg.arch and cfg.pretrained:
        notes.append("recipe.zero_init_last=true does not apply: the pretrained weights replace the initial ones")
    for name, why in NETWORK_ARGUMENTS.items():
        if cfg.recipe[name] and name not in cfg.arch:
            notes.append(f"recipe.{name}={as_yaml(cfg.recipe[name])} does not apply to {arch}: {why}")
    for name, value in (cfg.published.get(cfg.pretrained) or {}).items() if cfg.pretrained else ():
        if name != "name":
            notes.append(f"arch.{name}={as_yaml(value)}, as {cfg.pretrained}'s weights need it")
    return notes


def _layer_notes(cfg: DictConfig, network: nn.Module, arch: str) -> list[str]:
    present = parameter_kinds(network)
    reasons = {
        "no_decay_depthwise": "" if "depthwise" in present else "it trains no depthwise filters",
        "norm_bias_lr_factor": "" if "norm_bias" in present else "it trains no biases of normalisation",
        "whiten_bias_epochs": "" if getattr(network, "whiten_bias", None) is not None else "it has no whitening layer",
        "precise_bn": "" if batch_norms(network) else "it has no batch normalisation",
    }
    if cfg.recipe.finetune:
        why = "recipe.finetune leaves all but the classifier in evaluation mode"
        reasons |= {name: why for name in ("dropout", "drop_path") if name in cfg.arch}
        reasons["layer_decay"] = "recipe.finetune trains the last layer alone"
    return [
        f"recipe.{name}={as_yaml(cfg.recipe[name])} does not apply to {arch}: {why}"
        for name, why in reasons.items()
        if why and cfg.recipe[name]
    ]


def _data_notes(cfg: DictConfig, data: str) -> list[str]:
    recipe, datamodule, notes = cfg.recipe, cfg.datamodule, []
    for name in ("hflip", "val_views", "test_views"):
        if recipe[name] and not datamodule.mirror:
            notes.append(
                f"recipe.{name}={as_yaml(recipe[name])} is off: a mirrored image of {data} is not of its class"
            )
    if recipe.pca_lighting and datamodule.channels != 3:
        notes.append(f"recipe.pca_lighting={recipe.pca_lighting} is off: {data} has no colour")
    if datamodule.get("max_errors") and datamodule.on_error == "fail":
        notes.append(f"datamodule.max_errors={datamodule.max_errors} does not apply: datamodule.on_error=fail")
    if datamodule.get("cache") and "://" not in str(datamodule.root):
        notes.append(f"datamodule.cache={datamodule.cache} does not apply: {data} is read from a folder")
    if datamodule.val_size == 0:
        notes.append(f"{DANGER}validation is the test set (datamodule.val_size=0)")
    return notes


def _schedule_notes(recipe: Recipe, steps_per_epoch: int) -> list[str]:
    """Keys that would act only after the run has ended, or only together with others that are off."""
    notes, end = [], recipe.epochs - (recipe.warmup_epochs if recipe.after_warmup else 0)
    last = end - (1 if recipe.schedule_interval == "epoch" else 1 / steps_per_epoch)  # when the rate is last set
    late = [at for at in recipe.decay_epochs if at > last] if recipe.schedule in ("step", "multistep", "list") else []
    if late:
        key = f"recipe.decay_epochs={as_yaml(recipe.decay_epochs)}"
        notes.append(f"{CAREFUL}{key}: the last epoch begins before {late[0]:g}")
    if recipe.bce_threshold and not recipe.mixes:
        notes.append(f"recipe.bce_threshold={recipe.bce_threshold:g} changes nothing: unmixed targets are 0 and 1")
    return notes


def _averaging_notes(recipe: Recipe, steps_per_epoch: int) -> list[str]:
    """Which weights are evaluated, and whether too much of the initial weights remains in their average."""
    notes = []
    if average := "ema" if recipe.ema else "swa" if recipe.swa else "":
        evaluated = f"val_top1, best.ckpt and the test use the averaged weights (recipe.{average})"
        notes.append(f"{evaluated}; val_raw_top1 does not")
    if recipe.precise_bn > steps_per_epoch * recipe.batch_size:
        notes.append(f"recipe.precise_bn={recipe.precise_bn} uses fewer images: an epoch has no more")
    share = remaining_initial_weight(recipe, recipe.total_epochs * steps_per_epoch, steps_per_epoch)
    if share > 0.01:
        notes.append(
            f"{CAREFUL}recipe.ema={recipe.ema:g}: {share:.0%} of the final average are the initial weights; "
            "recipe.ema_ramp=true averages over fewer steps at first"
        )
    return notes


def _size_notes(cfg: DictConfig, arch: str, data: str, one_size: bool) -> list[str]:
    recipe, side, published = cfg.recipe, cfg.datamodule.resolution, cfg.published.resolution
    if not one_size:
        sizes = {"tested": recipe.test_res, "trained": recipe.train_res}
        if published <= SMALL_IMAGES:
            small = f"{arch} and recipe.train_res={recipe.train_res} are for small images"
            return [f"{DANGER}{small}, and {data} has photographs: experiment=own_photos fits them"]
        return [
            f"{CAREFUL}{arch} was published at {published}, and is {verb} at {size}"
            for verb, size in sizes.items()
            if size != published
        ]
    relative = recipe.crop == "scale_jitter" or recipe.progressive_res  # their sizes are fractions of train_res
    unused = {
        "train_res": recipe.train_res != side and not relative,
        "test_res": recipe.test_res != side,
        "test_crop_ratio": recipe.test_crop_ratio != 1,
        "interpolation": recipe.crop in ("none", "pad") and not (recipe.rand_augment or recipe.auto_augment),
        "test_interpolation": recipe.test_interpolation,
    }
    settings = [f"recipe.{name}={as_yaml(recipe[name])}" for name, is_unused in unused.items() if is_unused]
    verb = "does" if len(settings) == 1 else "do"
    return [f"{', '.join(settings)} {verb} not apply: {data} keeps its {side}x{side}"] if settings else []
