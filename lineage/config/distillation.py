"""The network that a distillation learns from (`recipe.distill`), as a config of its own. Imports no torch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from lineage.config.trust import check_built, trusted
from lineage.errors import UserError
from lineage.running import directory
from lineage.sweeps.jobs import find_run, load_jobs
from lineage.text import nearest

LIBRARIES = ("timm", "torchvision")


def check_teacher(cfg: DictConfig) -> None:
    """Raise UserError unless a recipe that distills has a teacher that exists, and no other one has any."""
    if (cfg.teacher is None) != (not cfg.recipe.distill):
        raise UserError(
            f"teacher={cfg.teacher or 'null'} recipe.distill={cfg.recipe.distill or chr(34) * 2}: both or neither; "
            "teacher=RUN, or teacher=timm/resnet50, with recipe.distill=soft or hard."
        )
    if cfg.teacher is not None:
        if not _library(cfg.teacher):
            cfg.teacher = _name_of_run(cfg)
        teacher_config(cfg)


def teacher_config(cfg: DictConfig) -> DictConfig:
    """The command's config with the teacher's network and weights in place of the student's.

    `teacher` is a run below `runs`, or a library and a network that it has weights of, timm/resnet50.

    Raises:
        UserError: there is no such run or network, or it is of other classes or channels.
    """
    taught = copy.deepcopy(cfg)
    with open_dict(taught):
        taught.freeze = None
        if library := _library(cfg.teacher):
            name = str(cfg.teacher).partition("/")[2]
            arch, published = _of_file(name)
            if not published.get(library):
                raise UserError(f"teacher={cfg.teacher}: {library} has no released weights of {name}.")
            needed = {key: value for key, value in published[library].items() if key != "name"}
            taught.arch, taught.published, taught.pretrained = OmegaConf.merge(arch, needed), published, library
            return taught
        folder = Path(str(cfg.runs)) / str(cfg.teacher)
        saved = directory.read_config(folder / "config.yaml")
        check_built(folder / "config.yaml", "arch", saved.arch, trusted(cfg))
        _check_data(cfg, saved)
        taught.arch, taught.published = saved.arch, saved.get("published") or {}
        taught.pretrained = str(folder / "checkpoints" / "last.ckpt")
    if not Path(taught.pretrained).is_file():
        raise UserError(f"teacher={cfg.teacher}: it has saved no weights yet.")
    return taught


def is_unfinished(cfg: DictConfig) -> bool:
    """Whether the teacher is a run that has not ended."""
    return not _library(cfg.teacher) and not directory.is_finished(Path(str(cfg.runs)) / str(cfg.teacher))


def _library(teacher: object) -> str | None:
    library, _, name = str(teacher).partition("/")
    return library if library in LIBRARIES and name else None


def _name_of_run(cfg: DictConfig) -> str:
    """The whole name of the run that `teacher` names or begins: of a run that goes on, what it was when that began."""
    runs, word = Path(str(cfg.runs)), str(cfg.teacher or "")
    own = directory.folder_of(cfg) if cfg.get("run") is not None else None
    if not word or (own is not None and runs / word == own):
        raise UserError(f"teacher={word}: name another run, or a network as teacher=timm/resnet50.")
    if own is not None and (own / "config.yaml").exists():
        began = str(directory.read_config(own / "config.yaml").get("teacher"))
        if began.startswith(word) and (runs / began / "config.yaml").exists():
            return began
    of_sweep = own is not None and load_jobs(own.parent)
    return str(find_run(runs, word, "teacher", own.parent if own is not None and of_sweep else own).relative_to(runs))


def _check_data(cfg: DictConfig, saved: DictConfig) -> None:
    """Of a data set whose facts are not known yet nothing is compared."""
    for key, what in (("num_classes", "classes"), ("channels", "channels")):
        here, there = cfg.datamodule.get(key), saved.datamodule.get(key)
        if here is not None and there is not None and here != there:
            raise UserError(f"teacher={cfg.teacher} was trained on {there} {what}, and these data have {here}.")


def _of_file(name: str) -> tuple[Any, Any]:
    """`arch` and `published` of conf/arch/NAME.yaml."""
    from lineage.archs.catalogue import names, read

    if name not in names():
        raise UserError(f"teacher: there is no network {name}.{nearest(name, names())}")
    config = read(name)
    return config.arch, config.published
