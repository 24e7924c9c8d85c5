"""Notes on settings that have no effect, or an unexpected one, in this run. Those that act on the result begin with
CAREFUL or DANGER."""

import math
from pathlib import Path
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
from lineage.rules import Group, sentences
from lineage.text import CAREFUL, DANGER, as_yaml

NOTES = Path(__file__).with_name("notes.yaml")
FEW = 100  # test images, of which even the best network's accuracy is uncertain by some percent
FILLS_A_GPU = 128 * 224 * 224  # pixels of a forward pass that leave no unit of a large GPU without work

# Recipe keys that are arguments of a network, and why a network lacks them.


def what_does_not_apply(
    cfg: DictConfig, network: nn.Module, arch: str, data: str, one_size: bool, steps_per_epoch: int
) -> list[str]:
    """All notes that follow from the config, the network and the length of an epoch.

    Args:
        arch, data: the names of the choices, for the sentences.
        one_size: whether all training images have one size.
    """
    recipe = cast(Recipe, OmegaConf.to_object(cfg.recipe))
    needed = (cfg.published.get(cfg.pretrained) if cfg.pretrained else None) or {}
    share = remaining_initial_weight(recipe, recipe.total_epochs * steps_per_epoch, steps_per_epoch)
    facts = {
        "network": arch, "data": data, "one_size": one_size, "pretrained": cfg.pretrained,
        "kinds": parameter_kinds(network), "whitens": getattr(network, "whiten_bias", None) is not None,
        "normalises": bool(batch_norms(network)), "published": cfg.published.resolution,
        "images_per_epoch": steps_per_epoch * recipe.batch_size, "late": _late_decay(recipe, steps_per_epoch),
        "initial": share, "percent": f"{share:.0%}",
    }  # fmt: skip
    return [
        *sentences(NOTES, {name: Group.of(cfg[name]) for name in ("arch", "datamodule", "recipe")} | facts),
        *(
            f"arch.{name}={as_yaml(value)}, as {cfg.pretrained}'s weights need it"
            for name, value in needed.items()
            if name != "name"
        ),
        *(_size_notes(cfg, data) if one_size else ()),
    ]


def _late_decay(recipe: Recipe, steps_per_epoch: int) -> float | None:
    """The first of recipe.decay_epochs that comes after the rate is last set."""
    end = recipe.epochs - (recipe.warmup_epochs if recipe.after_warmup else 0)
    last = end - (1 if recipe.schedule_interval == "epoch" else 1 / steps_per_epoch)
    decays = recipe.decay_epochs if recipe.schedule in ("step", "multistep", "list") else []
    return next((at for at in decays if at > last), None)


def _size_notes(cfg: DictConfig, data: str) -> list[str]:
    """A note on settings of size that images of one size do not need."""
    recipe, side = cfg.recipe, cfg.datamodule.resolution
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
