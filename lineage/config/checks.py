"""What a command is checked for before anything is built: the type and range of every key, and the run's directory.

`checks` is the first call of every door and, for all its jobs, of every sweep. It writes nothing and takes less than a
second: signatures of classes are read from their source (lineage/config/signatures.py), so torch is not imported.
"""

import fnmatch
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lineage.config.combinations import check_combinations, check_places
from lineage.config.distillation import check_teacher
from lineage.config.help import meant
from lineage.config.overrides import ELSEWHERE, GROUPS, HYDRA_KEYS, NOT_A_CALLBACK, READ, key_of, reads, removal_message
from lineage.config.schema import key_types
from lineage.config.signatures import arguments
from lineage.constraints import problem
from lineage.errors import UserError
from lineage.recipes.recipe import ANNOTATIONS, Recipe
from lineage.running import directory
from lineage.text import as_yaml, nearest

MAY_BE_EMPTY = ("callbacks", "logger")


def checks(cfg: DictConfig, hydra: Any = None) -> None:
    """Refuse a command that cannot work.

    Args:
        hydra: the `hydra` node of the command; None: of the command that runs.

    Raises:
        UserError, RecipeError: the first thing that is wrong, with the nearest valid one.
    """
    hydra = hydra or HydraConfig.get()
    verb, overrides = str(hydra.job.config_name), list(hydra.overrides.task)
    _check_overrides(verb, overrides)
    _check_groups(cfg, hydra.runtime.choices)
    _check_keys(cfg, verb)
    _check_recipe(cfg)
    check_places(cfg, verb)
    check_nodes(cfg)
    if verb in ("train", "preview"):
        check_teacher(cfg)
    if verb == "train":
        _check_directory(cfg, hydra, overrides)


def check_nodes(cfg: DictConfig) -> None:
    """Refuse arguments that a class does not take, and values that do not go together. Raises UserError."""
    for path, node in nodes(cfg):
        _check_node(path, node)
    check_combinations(cfg)


def nodes(cfg: DictConfig) -> list[tuple[str, DictConfig]]:
    """The nodes that a class is built of, with their paths."""
    found = [(group, cfg[group]) for group in ("arch", "datamodule", "trainer")]
    for group in MAY_BE_EMPTY:
        found += [(f"{group}.{name}", node) for name, node in (cfg.get(group) or {}).items()]
    return found


def _check_groups(cfg: DictConfig, choices: Any) -> None:
    for group in GROUPS[:-1]:  # not the preset
        node, choice = cfg.get(group), str(choices.get(group) or "")
        if group in MAY_BE_EMPTY and not node:
            continue
        if not isinstance(node, DictConfig) or not node:
            raise UserError(f"{group}={choice or 'null'}: it cannot be left out; python train.py --help lists them.")
        if not all(part.isidentifier() for part in choice.split("/")) and group not in MAY_BE_EMPTY:
            raise UserError(f"{group}={choice or '[...]'}: there is no such {group}; it is one choice by name.")


def _check_overrides(verb: str, overrides: list[str]) -> None:
    """Refuse an override that removes a key, or that this verb does not read."""
    for override in overrides:
        if override.startswith("~") and not override.startswith("~hydra"):
            raise UserError(removal_message(override))
        key = key_of(override)
        if not reads(verb, key):
            raise UserError(f"{override}: {verb} does not read {key}.{nearest(key, READ[verb])}")


def check_hydra_overrides(overrides: Sequence[str]) -> None:
    """Refuse keys of Hydra's that do nothing here, before it makes a folder. Raises UserError."""
    for override in overrides:
        key = key_of(override)
        if key.startswith("hydra") and not any(fnmatch.fnmatchcase(key, pattern) for pattern in HYDRA_KEYS):
            advice = "a run's directory is runs=FOLDER run=NAME." if key.endswith("dir") else "leave it out."
            raise UserError(f"{override}: {key} does nothing here; {advice}")


def _check_keys(cfg: DictConfig, verb: str) -> None:
    """Check the keys beside the groups."""
    known = key_types(verb)
    for name in map(str, cfg):
        if name in (*GROUPS, "published", "hydra"):
            continue
        if name not in known:
            near = f" Did you mean {right}?" if (right := meant(name, verb)) else nearest(name, [*GROUPS, *known])
            raise UserError(f"{name}: there is no such group or key.{near}")
        wrong = problem(known[name], cfg[name])
        if wrong:
            raise UserError(f"{name}={as_yaml(cfg[name])}: {wrong}")
    for run in cfg.run if OmegaConf.is_list(cfg.run) else [cfg.run]:
        if run is not None and not directory.is_name(str(run)):
            raise UserError(f"run={run}: it is a name below {cfg.runs}/; another place is runs=FOLDER.")
    for name in ("runs", "output"):
        if cfg.get(name) == "":
            raise UserError(f"{name}=: it is a place, and none is given; the working directory is {name}=./")


def _check_recipe(cfg: DictConfig) -> None:
    for key in cfg.recipe:
        if key not in ANNOTATIONS:  # +recipe.x= passes by the schema
            raise UserError(f"recipe.{key}: there is no such key.{nearest(str(key), ANNOTATIONS, 'recipe.')}")
    cast(Recipe, OmegaConf.to_object(cfg.recipe)).check()


def _check_node(path: str, node: DictConfig) -> None:
    """Check the arguments of a class against its signature."""
    if not isinstance(node, DictConfig):
        raise UserError(f"{path}={as_yaml(node)}: it names no class (_target_).")
    values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    target = values.pop("_target_", None) if isinstance(values, dict) else None
    if target is None:
        raise UserError(f"{path}: it names no class (_target_).")
    package, _, name = str(target).rpartition(".")
    if path.startswith("callbacks.") and package.startswith("pytorch_lightning") and name in NOT_A_CALLBACK:
        raise UserError(f"{path}: {NOT_A_CALLBACK[name]}.")
    if name == "DeviceStatsMonitor" and find_spec("psutil") is None:
        raise UserError(f"{path}: it needs the package psutil: pip install psutil")
    signature = arguments(str(target))
    if signature is None:
        return
    known, written = signature.arguments, cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))
    for name, value in values.items():
        if value is None and str(written[name]).startswith("${datamodule."):  # inferred later, then checked again
            continue
        if name.startswith("_") and name.endswith("_"):  # Hydra's: _partial_, _convert_
            continue
        key = f"{path}.{name}"
        if path == "trainer" and name in ELSEWHERE:
            raise UserError(f"{key}: {ELSEWHERE[name]}.")
        if name not in known:
            if not signature.open:
                raise UserError(f"{key}: there is no such key.{nearest(str(name), known, path + '.')}")
        elif value == "???":
            raise UserError(f"{key} has no value; give it one: {key}=...")
        elif wrong := problem(known[name].annotation, value):
            raise UserError(f"{key}={as_yaml(value)}: {wrong}")
    missing = [name for name, argument in known.items() if argument.required and name not in values]
    if missing:
        raise UserError(f"{path}.{missing[0]} has no value; give it one: {path}.{missing[0]}=...")


def _check_directory(cfg: DictConfig, hydra: Any, overrides: list[str]) -> None:
    if hydra.mode == RunMode.MULTIRUN:
        return
    if cfg.get("finals_of") is not None:
        raise UserError(f"finals_of={cfg.finals_of}: the finals are a sweep: -m")
    _check_tasks(cfg)
    if not directory.is_main_process():
        return
    if cfg.run is None:
        raise UserError(f"run=null: a run has a name below {cfg.runs}/; without run= it is the time.")
    named = any(override.split("=")[0] == "run" for override in overrides)
    if not named and "LINEAGE_RUN" not in os.environ and _launched_from_outside():
        raise UserError("Several processes make one run: give it a name that all of them know, run=NAME.")
    folder = directory.folder_of(cfg)
    if (folder / "sweep.jsonl").exists():
        raise UserError(f"{folder} is a sweep: continue it with -m, or choose another name for a run.")


def _check_tasks(cfg: DictConfig) -> None:
    """SLURM's tasks are the devices of the run: what differs is known before anything waits for the others."""
    tasks, nodes = (int(os.environ.get(name, "1")) for name in ("SLURM_NTASKS", "SLURM_NNODES"))
    devices = cfg.trainer.devices
    count = len(devices) if OmegaConf.is_list(devices) else devices
    if not _is_slurm_task() or not isinstance(count, int) or count < 1:
        return
    if nodes != cfg.trainer.num_nodes or tasks != count * nodes:
        raise UserError(
            f"SLURM started {tasks} tasks on {nodes} nodes, and the command says trainer.num_nodes="
            f"{cfg.trainer.num_nodes} trainer.devices={count}: one task per device, trainer.devices={tasks // nodes}."
        )


def _launched_from_outside() -> bool:
    """Whether torchrun or SLURM started several processes (Lightning hands its own processes the run's name)."""
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    return torchrun or _is_slurm_task()


def _is_slurm_task() -> bool:
    """Whether srun started this process as one of several."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    several = os.environ.get("SLURM_NTASKS", "1") != "1"
    return several and not interactive and "TORCHELASTIC_RUN_ID" not in os.environ
