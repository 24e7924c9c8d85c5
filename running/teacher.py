"""The network that a distillation learns from (`recipe.distill`), as a config of its own. Imports no torch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from running import directory
from running.errors import nearest
from sweeps.jobs import find_run
from user_error import UserError

LIBRARIES = ("timm", "torchvision")


def check_teacher(cfg: DictConfig) -> None:
    """Raise UserError unless a recipe that distills has a teacher that exists, and no other one has any."""
    if (cfg.teacher is None) != (not cfg.recipe.distill):
        raise UserError(
            f"teacher={cfg.teacher or 'null'} recipe.distill={cfg.recipe.distill or chr(34) * 2}: both or neither; "
            "teacher=RUN, or teacher=timm/resnet50, with recipe.distill=soft or hard."
        )
    if cfg.teacher is not None:
        teacher_config(cfg)


def teacher_config(cfg: DictConfig) -> DictConfig:
    """The command's config with the teacher's network and weights in place of the student's.

    `teacher` is a run below `runs`, or a library and a network that it has weights of, timm/resnet50.

    Raises:
        UserError: there is no such run or network.
    """
    taught = copy.deepcopy(cfg)
    library, _, name = str(cfg.teacher).partition("/")
    with open_dict(taught):
        taught.freeze = None
        if library in LIBRARIES and name:
            arch, published = _of_file(name)
            if not published.get(library):
                raise UserError(f"teacher={cfg.teacher}: {library} has no released weights of {name}.")
            needed = {key: value for key, value in published[library].items() if key != "name"}
            taught.arch, taught.published, taught.pretrained = OmegaConf.merge(arch, needed), published, library
            return taught
        folder = find_run(Path(str(cfg.runs)), str(cfg.teacher))
        saved = directory.read_config(folder / "config.yaml")
        directory.check_built(folder / "config.yaml", "arch", saved.arch)
        taught.arch, taught.published = saved.arch, saved.get("published") or {}
        taught.pretrained = str(folder / "checkpoints" / "last.ckpt")
    return taught


def _of_file(name: str) -> tuple[Any, Any]:
    """`arch` and `published` of conf/arch/NAME.yaml."""
    from archs.catalogue import names, read

    if name not in names():
        raise UserError(f"teacher: there is no network {name}.{nearest(name, names())}")
    config = read(name)
    return config.arch, config.published
