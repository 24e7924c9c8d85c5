"""What completes a checked config before anything is built: values that weights, data and an earlier start determine.

Imports torch only where the command names weights.
"""

import copy
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lineage.config.checks import check_nodes
from lineage.config.derived import pretrained_preprocessing, searched_cells
from lineage.config.distillation import teacher_name
from lineage.config.overrides import overridden_keys
from lineage.errors import Finished, UserError
from lineage.running import directory
from lineage.weights.preprocessing import LIBRARIES, weights_file

# Data sets whose YAML may leave values null, and the functions, of modules without torch, that infer them.
INFERENCES = {
    "lineage.datamodules.sets.imagefolder.ImageFolder": "lineage.datamodules.discovery.layout.infer_missing",
    "lineage.datamodules.sets.huggingface.HuggingFace": "lineage.datamodules.discovery.tables.infer_missing",
    "lineage.datamodules.sets.packed.Packed": "lineage.datamodules.packing.shards.infer_missing",
}
# Keys that act on photographs alone, with or without `recipe.` before them.
PHOTOGRAPH_KEYS = ("crop", "test_crop_ratio", "test_res", "interpolation", "test_interpolation")


def complete(cfg: DictConfig) -> DictConfig:
    """A new config, in which nothing is left to be inferred.

    Raises:
        Finished: the run is finished, and a line that says so was printed.
        UserError: the run's directory holds another run; a size or crop that the data cannot have; data that are
            missing, or do not fit the command.
        ArchitectureError: there are no such weights.
    """
    cfg = copy.deepcopy(cfg)
    _expand_paths(cfg)
    if cfg.get("teacher") is not None:
        cfg.teacher = teacher_name(cfg)
    _add_arguments_of_weights(cfg)
    if (cells := searched_cells(cfg)) is not None:
        cfg.arch.cells = cells
    inferred = _infer_from_data(cfg)
    _apply_resolution(cfg)
    _apply_crop(cfg)
    if cfg.pretrained is not None and not _weights_are_gone(cfg):
        _apply_pretrained_preprocessing(cfg)
    hydra: Any = HydraConfig.get()
    if hydra.job.config_name == "train":
        _continue_earlier_run(cfg, inferred)
    return cfg


def _expand_paths(cfg: DictConfig) -> None:
    """A folder may be called 2024, which Hydra reads as a number; ~ is the user's home. The root of the data is kept
    absolute, so that a run can be evaluated from another folder."""
    folders = ("root", "name", "cache", "train_folder", "val_folder", "test_folder")
    for node, keys in ((cfg.datamodule, folders), (cfg, ("out",))):
        for key in keys:
            if node.get(key) is not None:
                node[key] = os.path.expanduser(str(node[key]))
    if cfg.pretrained is not None and Path(str(cfg.pretrained)).is_dir():
        cfg.pretrained = str(weights_file(str(cfg.pretrained)))
    root = cfg.datamodule.get("root")
    if root is not None and "://" not in root:
        cfg.datamodule.root = os.path.abspath(root)


def _add_arguments_of_weights(cfg: DictConfig) -> None:
    """Give arch the arguments that its released weights need, such as norm_eps of timm's EfficientNets.

    Raises:
        UserError: the command gives another value.
    """
    keys = overridden_keys()
    for key, value in ((cfg.get("published") or {}).get(cfg.pretrained) or {}).items() if cfg.pretrained else ():
        if key == "name":
            continue
        if f"arch.{key}" in keys and cfg.arch[key] != value:
            raise UserError(f"arch.{key}={cfg.arch[key]}: the weights of pretrained={cfg.pretrained} need {value}.")
        OmegaConf.update(cfg.arch, str(key), value)


def _infer_from_data(cfg: DictConfig) -> list[str]:
    """Infer what a data set's YAML leaves null, the number of classes for example, from its files; returns the keys."""
    data: Any = OmegaConf.to_container(cfg.datamodule, resolve=True)
    inference = INFERENCES.get(data["_target_"])
    if inference is None or None not in (data["num_classes"], data["channels"], data["mean"], data["std"]):
        return []
    module, _, function = inference.rpartition(".")
    values = getattr(import_module(module), function)(data)
    keys = [key for key, value in values.items() if data[key] is None and value is not None]
    try:
        directory.check_no_interpolation([values[key] for key in keys])
    except ValueError as error:
        raise UserError(f"datamodule.root={data.get('root')}: its description is damaged ({error}).") from error
    for key in keys:
        cfg.datamodule[key] = values[key]
    check_nodes(cfg)
    return [f"datamodule.{key}" for key in keys]


def _apply_resolution(cfg: DictConfig) -> None:
    """`resolution` is the size of a data set that has one, and the test size of the others."""
    side = cfg.get("resolution")
    if side is None:
        return
    if cfg.datamodule.resolution is not None:
        cfg.datamodule.resolution = side
    else:
        cfg.recipe.test_res = side


def _apply_crop(cfg: DictConfig) -> None:
    if "crop" not in cfg:  # a training run notes what does not apply (lineage/reporting/notes.py)
        return
    for key in overridden_keys():
        name = key.removeprefix("recipe.")
        if name in PHOTOGRAPH_KEYS and cfg.datamodule.resolution is not None:
            raise UserError(f"{key}: these images have one size and are not cropped; resolution= resizes them.")
    if cfg.crop is not None:
        cfg.recipe.test_crop_ratio = cfg.crop
    if cfg.get("views") is not None:
        cfg.recipe.test_views = cfg.views
    views, keys = cfg.recipe.test_views, {"views", "recipe.test_views"} & set(overridden_keys())
    for key in keys if views else ():
        if views in ("five", "ten") and cfg.datamodule.resolution is not None:
            raise UserError(f"{key}={views}: crops are of photographs, and these images have one size.")
        if views != "five" and not cfg.datamodule.mirror:
            raise UserError(f"{key}={views}: a mirrored image of these data is not of its class.")


def _weights_are_gone(cfg: DictConfig) -> bool:
    """Whether a run goes on without the file that it started from (lineage/config/combinations.py refuses others)."""
    return cfg.pretrained not in (None, *LIBRARIES) and not Path(str(cfg.pretrained)).is_file()


def _apply_pretrained_preprocessing(cfg: DictConfig) -> None:
    """Use the preprocessing of the weights, except for what the command gives: a value, or a recipe by name.

    An evaluation takes all of it. A training run takes mean and deviation; sizes, crop and interpolation are its
    recipe's.

    Raises:
        UserError: the preprocessing of the weights is not implemented here, and the command chooses no other.
    """
    record, keys = pretrained_preprocessing(cfg), set(overridden_keys())
    if record is None:
        return
    if len(record.mean) == cfg.datamodule.channels:
        for name, values in (("mean", record.mean), ("std", record.std)):
            if f"datamodule.{name}" not in keys:
                cfg.datamodule[name] = list(values)
    if HydraConfig.get().job.config_name == "train":
        return
    if record.crop_mode != "center" and not {"crop", "recipe.test_crop_ratio", "recipe"} & keys:
        trained = f"on whole images brought to a square (crop_mode {record.crop_mode}), and here the square is cut out"
        said = "Give the crop, crop=1 for example; the published accuracy is of the other."
        raise UserError(f"The weights of {record.source} were trained {trained}.\n{said}")
    # A data set of one size has its resolution, which no recipe knows.
    size = ["recipe.test_res", "recipe"] if cfg.datamodule.resolution is None else ["datamodule.resolution"]
    for key, value, *choosing in (
        (size[0], record.resolution, "resolution", *size[1:]),
        ("recipe.test_crop_ratio", record.crop, "crop", "recipe"),
        ("recipe.test_interpolation", record.interpolation, "recipe.interpolation", "recipe"),
    ):
        if not {key, *choosing} & keys:
            OmegaConf.update(cfg, str(key), value)


def _continue_earlier_run(cfg: DictConfig, inferred: list[str]) -> None:
    """Take from the run's directory what an earlier start determined. Raises Finished; UserError: it is another run."""
    folder = directory.folder_of(cfg)
    _keep_mean(folder, cfg, inferred)
    if directory.is_main_process():
        directory.check_same(folder, cfg, inferred)
    if directory.is_finished(folder) and not directory.fewer_epochs(folder, cfg):
        results = directory.load_results(folder)
        if directory.is_main_process():
            longer = (
                f"To train it longer, say recipe.epochs= more than {cfg.recipe.epochs}; another run has another name."
            )
            print(f"{folder} is finished (test_top1 {results['test_top1']:.4f}). {longer}")
        raise Finished(results)


def _keep_mean(folder: Path, cfg: DictConfig, inferred: list[str]) -> None:
    """Keep the mean and deviation of the run's first start if an unreadable image was repaired since, or if the file of
    weights that stated them is gone."""
    if not directory.has_checkpoint(folder) or not (folder / "config.yaml").exists():
        return
    from lineage.datamodules.discovery.statistics import nearly_equal

    saved = directory.read_config(folder / "config.yaml").datamodule
    gone, keys = _weights_are_gone(cfg), overridden_keys()
    for name in ("mean", "std"):
        key, mended = f"datamodule.{name}", nearly_equal(saved.get(name), cfg.datamodule[name])
        if (key in inferred and mended) or (gone and key not in keys):
            cfg.datamodule[name] = saved[name]
