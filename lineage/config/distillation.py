"""The teacher of a distillation (`recipe.distill`), as a config of its own. Imports no torch."""

import copy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from lineage.archs import catalogue
from lineage.config.saved_run import check_target, trusted_packages
from lineage.errors import UserError
from lineage.running import directory
from lineage.sweeps.jobs import find_run, load_jobs
from lineage.text import nearest
from lineage.weights.preprocessing import LIBRARIES


def check_teacher(cfg: DictConfig) -> None:
    """Raise UserError unless a recipe that distills has a teacher that exists, and no other recipe has one."""
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
        UserError: there is no such run or network, or it has other classes or channels.
    """
    teacher_cfg, name = copy.deepcopy(cfg), teacher_name(cfg)
    with open_dict(teacher_cfg):
        teacher_cfg.freeze = None
        if library := _library(name):
            arch, published = _network_file(name.partition("/")[2])
            if not published.get(library):
                raise UserError(f"teacher={name}: {library} has no released weights of it.")
            needed = {key: value for key, value in published[library].items() if key != "name"}
            teacher_cfg.arch, teacher_cfg.published = OmegaConf.merge(arch, needed), published
            teacher_cfg.pretrained = library
            return teacher_cfg
        folder = Path(str(cfg.runs)) / name
        saved = directory.read_config(folder / "config.yaml")
        check_target(folder / "config.yaml", "arch", saved.arch, trusted_packages(cfg))
        for key in ("num_classes", "channels"):
            here, there = cfg.datamodule.get(key), saved.datamodule.get(key)
            if here is not None and there is not None and here != there:  # null: not inferred from the data yet
                what = key.removeprefix("num_")
                raise UserError(f"teacher={name} was trained on {there} {what}, and these data have {here}.")
        teacher_cfg.arch, teacher_cfg.published = saved.arch, saved.get("published") or {}
        teacher_cfg.pretrained = str(folder / "checkpoints" / "last.ckpt")
    if not Path(teacher_cfg.pretrained).is_file():
        raise UserError(f"teacher={name}: it has saved no weights yet.")
    return teacher_cfg


def teacher_name(cfg: DictConfig) -> str:
    """The whole name of the teacher, which the command may shorten; a continued run keeps the teacher of its start.

    Raises:
        UserError: there is no such run, or it is this one.
    """
    runs, name = Path(str(cfg.runs)), str(cfg.teacher)
    if _library(name):
        return name
    own = directory.folder_of(cfg) if cfg.get("run") is not None else None
    if not name or (own is not None and runs / name == own):
        raise UserError(f"teacher={name}: name another run, or a network as teacher=timm/resnet50.")
    if own is not None and (own / "config.yaml").exists():
        at_start = str(directory.read_config(own / "config.yaml").get("teacher"))
        if at_start.startswith(name) and (runs / at_start / "config.yaml").exists():
            return at_start
    in_sweep = own is not None and load_jobs(own.parent)
    return str(find_run(runs, name, "teacher", own.parent if own is not None and in_sweep else own).relative_to(runs))


def is_unfinished(cfg: DictConfig) -> bool:
    """Whether the teacher is a run that has not ended."""
    return not _library(cfg.teacher) and not directory.is_finished(Path(str(cfg.runs)) / str(cfg.teacher))


def _library(teacher: object) -> str | None:
    library, _, name = str(teacher).partition("/")
    return library if library in LIBRARIES and name else None


def _network_file(name: str) -> tuple[Any, Any]:
    """`arch` and `published` of conf/arch/NAME.yaml."""
    if name not in catalogue.names():
        raise UserError(f"teacher: there is no network {name}.{nearest(name, catalogue.names())}")
    config = catalogue.read(name)
    return config.arch, config.published
