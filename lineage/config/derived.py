"""Derived from a config: the preprocessing of an evaluation and of the pretrained weights, the smallest image side, and
NASNet's cells."""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lineage.archs import genotype
from lineage.running.process import loading
from lineage.weights.preprocessing import LIBRARIES, Preprocessing

if TYPE_CHECKING:
    from lineage.weights.checkpoint import Weights


def eval_size(cfg: DictConfig) -> int:
    """Pixels of a side of what the network is tested on."""
    return cfg.datamodule.resolution or cfg.recipe.test_res


def eval_preprocessing(cfg: DictConfig) -> Preprocessing:
    """How images are preprocessed in an evaluation. Those of one size are not cropped."""
    photographs = cfg.datamodule.resolution is None
    return Preprocessing(
        mean=tuple(cfg.datamodule.mean),
        std=tuple(cfg.datamodule.std),
        resolution=eval_size(cfg),
        crop=cfg.recipe.test_crop_ratio if photographs else 1.0,
        interpolation=(cfg.recipe.test_interpolation or cfg.recipe.interpolation) if photographs else "bilinear",
    )


def pretrained_preprocessing(cfg: DictConfig) -> Preprocessing | None:
    """The preprocessing of the images that the weights of `pretrained` were trained on; None: unknown.

    Imports torch. Raises ArchitectureError: there are no such weights.
    """
    with loading():
        import torch
        from hydra.utils import instantiate
        from torch import nn

        from lineage.weights.provenance import recorded_preprocessing

    def build() -> nn.Module:
        with torch.device("meta"):
            return instantiate(cfg.arch)

    return recorded_preprocessing(str(cfg.pretrained), cfg.published, build)


def saved_weights(cfg: DictConfig) -> "Weights | None":
    """The content of the file that `pretrained` names, if it names one. Imports torch."""
    from lineage.weights.checkpoint import read_weights

    return None if cfg.pretrained in (None, *LIBRARIES) else read_weights(Path(str(cfg.pretrained)))


def smallest_size(cfg: DictConfig) -> tuple[int, str]:
    """The smallest side of an image in training or evaluation, and the setting that determines it."""
    recipe, native = cfg.recipe, cfg.datamodule.resolution
    sides = [(native, f"datamodule.resolution={native}")]
    if native is None:
        sides = [(recipe[name], f"recipe.{name}={recipe[name]}") for name in ("train_res", "test_res")]
    if recipe.progressive_res:
        least = min(recipe.progressive_res)
        side = least if native is None else round(native * least / recipe.train_res)  # as recipes/augment/geometry.py
        sides.append((side, f"the smallest of recipe.progressive_res, here {side} pixels,"))
    return min(sides)


def searched_cells(cfg: DictConfig) -> str | None:
    """NASNet's `arch.cells`; of the folder of a search, the best that it found. None for other networks.

    Raises:
        UserError: the search has no finished job.
        ArchitectureError: it is not the word of two cells.
    """
    if cfg.arch._target_ != "lineage.archs.nasnet.NASNet" or "cells" not in cfg.arch:
        return None
    cells = str(cfg.arch.cells)
    if Path(cells).is_dir():
        from lineage.sweeps.ranking import best_values

        (cells,) = best_values(Path(cells), "arch.cells", 1)
    genotype.parse(cells)
    return cells
