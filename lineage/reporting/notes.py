"""Notes on settings that have no effect, or an unexpected one, in this run. Those that act on the result begin with
CAREFUL or DANGER."""

import math
from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lineage.analysis.measures import wilson
from lineage.datamodules.base import ImageDataModule
from lineage.datamodules.loading.order import BatchSplit
from lineage.recipes.optim.averaging import remaining_initial_weight
from lineage.recipes.optim.batch_norm_statistics import batch_norms
from lineage.recipes.optim.optimizers import trainable_parameters
from lineage.recipes.recipe import Recipe
from lineage.rules import Group, sentences
from lineage.text import CAREFUL, DANGER, as_yaml

NOTES = Path(__file__).with_name("notes.yaml")
FILLS_A_GPU = 128 * 224 * 224  # pixels of a forward pass that leave no unit of a large GPU without work


def what_does_not_apply(
    cfg: DictConfig, network: nn.Module, names: tuple[str, str], data: ImageDataModule, device: torch.device,
    precision: str,
) -> list[str]:  # fmt: skip
    """The notes that follow from the config, the network, the images and the device.

    Args:
        names: of the choices of network and data, for the sentences.
        precision: Lightning's name of it.
    """
    recipe, steps_per_epoch = cast(Recipe, OmegaConf.to_object(cfg.recipe)), data.order.steps_per_epoch
    needed = (cfg.published.get(cfg.pretrained) if cfg.pretrained else None) or {}
    share = remaining_initial_weight(recipe, recipe.total_epochs * steps_per_epoch, steps_per_epoch)
    low, high = wilson(round(0.9 * len(data.test)), len(data.test)) if len(data.test) else (0, 1)
    facts = {
        "network": names[0], "data": names[1], "one_size": data.train.one_size, "pretrained": cfg.pretrained,
        "kinds": {kind for _, _, kind in trainable_parameters(network)},
        "whitens": getattr(network, "whiten_bias", None) is not None,
        "normalises": bool(batch_norms(network)), "published": cfg.published.resolution,
        "images_per_epoch": steps_per_epoch * recipe.batch_size, "late": _late_decay(recipe, steps_per_epoch),
        "initial": share, "percent": f"{share:.0%}", "largest": data.largest or math.inf,
        "test_images": len(data.test), "low": f"{low:.2f}", "high": f"{high:.2f}",
        "exact_on_a_gpu": device.type == "cuda" and precision == "32-true" and not recipe.mixed_precision,
        "tf32": device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0),
    }  # fmt: skip
    return [
        *sentences(NOTES, {name: Group.of(cfg[name]) for name in ("arch", "datamodule", "recipe")} | facts),
        *(
            f"arch.{name}={as_yaml(value)}, as {cfg.pretrained}'s weights need it"
            for name, value in needed.items()
            if name != "name"
        ),
        *(_size_notes(cfg, names[1]) if data.train.one_size else ()),
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
