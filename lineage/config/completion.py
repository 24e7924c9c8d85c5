"""What completes a checked config before anything is built: what weights need and saw, sizes, names.

Imports torch only where the command names weights.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from lineage.config.checks import check_parts
from lineage.config.derived import pretrained_preprocessing
from lineage.config.trust import check_built, trusted
from lineage.errors import Finished, UserError
from lineage.recipes.recipe import Recipe
from lineage.running import directory
from lineage.sweeps.jobs import find_run, job_name

# Data sets that leave facts to be found, and the functions, of modules without torch, that find them.
FINDERS = {
    "lineage.datamodules.sets.imagefolder.ImageFolder": "lineage.datamodules.discovery.layout.find_nulls",
    "lineage.datamodules.sets.huggingface.HuggingFace": "lineage.datamodules.discovery.tables.find_nulls",
    "lineage.datamodules.sets.packed.Packed": "lineage.datamodules.packing.shards.find_nulls",
}
# What an evaluation reads of photographs alone, with or without `recipe.` before it.
OF_PHOTOGRAPHS = ("crop", "test_crop_ratio", "test_res", "interpolation", "test_interpolation")


def complete(cfg: DictConfig) -> None:
    """Complete the config in place.

    Raises:
        Finished: the run has been finished before, which this has said.
        UserError: the run's directory is of another run; a size or crop that the data cannot have; data that are not
            there, or do not fit the command.
        ArchitectureError: there are no such weights.
    """
    _add_what_weights_need(cfg)
    found = _find_what_data_say(cfg)
    _apply_resolution(cfg)
    _apply_crop(cfg)
    if cfg.pretrained is not None and not _weights_are_gone(cfg):
        _show_what_weights_saw(cfg)
    hydra: Any = HydraConfig.get()
    if hydra.job.config_name != "train":
        return
    if hydra.mode == RunMode.MULTIRUN:  # a job of a launcher that runs it in its own process
        cfg.run = f"{cfg.run}/{job_name(list(hydra.overrides.task))}"
    folder = directory.folder_of(cfg)
    _keep_mean(folder, cfg, found)
    if directory.is_main_process():
        directory.check_same(folder, cfg, found)
    if directory.is_finished(folder):
        results = directory.load_results(folder)
        if directory.is_main_process():
            print(f"{folder} is finished (test_top1 {results['test_top1']:.4f}). For another run choose another name.")
        raise Finished(results)


def _find_what_data_say(cfg: DictConfig) -> list[str]:
    """Give what a data set leaves null, the number of its classes for example, the values of its files; these keys."""
    data: Any = OmegaConf.to_container(cfg.datamodule, resolve=True)
    finder = FINDERS.get(data["_target_"])
    if finder is None or None not in (data["num_classes"], data["channels"], data["mean"], data["std"]):
        return []
    module, _, function = finder.rpartition(".")
    values = getattr(import_module(module), function)(data)
    keys = [key for key, value in values.items() if data[key] is None and value is not None]
    for key in keys:
        cfg.datamodule[key] = values[key]
    check_parts(cfg)
    return [f"datamodule.{key}" for key in keys]


def _keep_mean(folder: Path, cfg: DictConfig, found: list[str]) -> None:
    """A run keeps the mean and deviation that it began with, if an image that could not be read was mended since, or if
    the file of weights is gone that said them."""
    if not (folder / "config.yaml").exists():
        return
    from lineage.datamodules.discovery.statistics import agrees

    saved = directory.read_config(folder / "config.yaml").datamodule
    gone, said = _weights_are_gone(cfg), _words()
    for name in ("mean", "std"):
        key, mended = f"datamodule.{name}", agrees(saved.get(name), cfg.datamodule[name])
        if (key in found and mended) or (gone and key not in said):
            cfg.datamodule[name] = saved[name]


def _weights_are_gone(cfg: DictConfig) -> bool:
    """Of a run that goes on without them: others are refused (lineage/config/combinations.py)."""
    return cfg.pretrained not in (None, "timm", "torchvision") and not Path(str(cfg.pretrained)).is_file()


def with_run(cfg: DictConfig) -> None:
    """Give the config what the run that `run` names has, but for what the command says; the weights of that run.

    A run's directory is data that may come from elsewhere: of its config only classes of this project are built.

    Raises:
        UserError: there is no such run, it has saved no weights, its config is damaged or names something else to
            build; nothing to evaluate.
    """
    if cfg.run is None:
        if cfg.pretrained is None:
            verb = HydraConfig.get().job.config_name
            raise UserError(f"Nothing to {verb}: name run=NAME, or weights: pretrained=timm, torchvision or a file.")
        return
    if not directory.is_name(str(cfg.run)):
        raise UserError(f"run={cfg.run}: it is a name below {cfg.runs}/; another place is runs=FOLDER.")
    if cfg.pretrained is not None:
        raise UserError("run=NAME and pretrained=: the weights are of one of them.")
    keys = _words()
    if "experiment" in keys:
        raise UserError("run=NAME experiment=: the run has its own network, data and recipe; another is named alone.")
    folder = find_run(Path(str(cfg.runs)), str(cfg.run))
    saved = directory.read_config(folder / "config.yaml")
    values = {key: OmegaConf.select(cfg, key) for key in keys if "." in key}
    with open_dict(cfg):
        for group in ("arch", "datamodule", "recipe", "published"):
            if group in keys or group not in saved:
                continue
            if group in ("arch", "datamodule"):
                check_built(folder / "config.yaml", group, saved[group], trusted(cfg))
            elif group == "recipe":
                saved[group] = OmegaConf.merge(OmegaConf.structured(Recipe), saved[group])
            cfg[group] = saved[group]
        for key, value in values.items():
            OmegaConf.update(cfg, key, value)
    file = folder / "checkpoints" / f"{cfg.checkpoint}.ckpt"
    if not file.is_file():
        raise UserError(f"run={cfg.run}: it has no {file.relative_to(folder)}; it has saved no such weights yet.")
    cfg.pretrained = str(file)


def _words() -> list[str]:
    """The keys that the command gives a value."""
    return [word.split("=")[0].lstrip("+") for word in HydraConfig.get().overrides.task]


def _add_what_weights_need(cfg: DictConfig) -> None:
    """Give arch the arguments that its released weights need, such as norm_eps of timm's EfficientNets.

    Raises:
        UserError: the command says another.
    """
    words = _words()
    for key, value in ((cfg.get("published") or {}).get(cfg.pretrained) or {}).items() if cfg.pretrained else ():
        if key == "name":
            continue
        if f"arch.{key}" in words and cfg.arch[key] != value:
            raise UserError(f"arch.{key}={cfg.arch[key]}: the weights of pretrained={cfg.pretrained} need {value}.")
        OmegaConf.update(cfg.arch, str(key), value)


def _apply_resolution(cfg: DictConfig) -> None:
    """`resolution` is the size of a data set that has one, and the test's size of the others."""
    side = cfg.get("resolution")
    if side is None:
        return
    if cfg.datamodule.resolution is not None:
        cfg.datamodule.resolution = side
    else:
        cfg.recipe.test_res = side


def _apply_crop(cfg: DictConfig) -> None:
    if "crop" not in cfg:  # a door that trains says what does not apply (lineage/reporting/notes.py)
        return
    _check_views_are_read(cfg)
    if cfg.crop is not None:
        cfg.recipe.test_crop_ratio = cfg.crop


def _check_views_are_read(cfg: DictConfig) -> None:
    for word in _words():
        name = word.removeprefix("recipe.")
        if name in OF_PHOTOGRAPHS and cfg.datamodule.resolution is not None:
            raise UserError(f"{word}: these images have one size and are not cropped; resolution= resizes them.")
        if name == "test_views" and cfg.recipe.test_views and not cfg.datamodule.mirror:
            raise UserError(f"{word}={cfg.recipe.test_views}: a mirrored image of these data is not of its class.")


def _show_what_weights_saw(cfg: DictConfig) -> None:
    """Show images as the weights saw them, but for what the command says: a value, or a recipe by name.

    An evaluation takes all of it; a training run mean and deviation, and its sizes, crop and interpolation from its
    recipe, which is what it trains by.

    Raises:
        UserError: the weights saw images in another way than is made here, so an evaluation says in which.
    """
    record, said = pretrained_preprocessing(cfg), _words()
    if record is None:
        return
    if len(record.mean) == cfg.datamodule.channels:
        for name, values in (("mean", record.mean), ("std", record.std)):
            if f"datamodule.{name}" not in said:
                cfg.datamodule[name] = list(values)
    if HydraConfig.get().job.config_name == "train":
        return
    if record.crop_mode != "center" and not {"crop", "recipe.test_crop_ratio", "recipe"} & set(said):
        raise UserError(
            f"The weights of {record.source} saw whole images brought to a square (crop_mode {record.crop_mode}), and "
            "here the square is cut out.\nSay how much, crop=1 for example; the published accuracy is of the other."
        )
    if cfg.datamodule.resolution is None:
        side: tuple[str, ...] = ("recipe.test_res", "recipe")
    else:  # a data set of one size, which no recipe knows
        side = ("datamodule.resolution",)
    taken = {
        side[0]: (record.resolution, ("resolution", *side)),
        "recipe.test_crop_ratio": (record.crop, ("crop", "recipe.test_crop_ratio", "recipe")),
        "recipe.test_interpolation": (
            record.interpolation,
            ("recipe.test_interpolation", "recipe.interpolation", "recipe"),
        ),
    }
    for key, (value, words) in taken.items():
        if not set(words) & set(said):
            OmegaConf.update(cfg, key, value)
