"""Compare networks by accuracy, cost, speed and memory: lineage compare arch=resnet50,vgg16 batch=1,8"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lineage.analysis import networks, papers
from lineage.analysis.pages.run_files import RunFiles
from lineage.asking import several
from lineage.config.checks import checks
from lineage.config.overrides import key_of, overridden_keys, reads
from lineage.doors import door
from lineage.errors import UserError
from lineage.files import Lock
from lineage.running.parent import follow_parent
from lineage.running.process import loading
from lineage.sweeps.jobs import find_run, load_jobs


@door
def compare(cfg: DictConfig) -> None:
    checks(cfg)
    bounds = networks.conditions(cfg.under, min(cfg.batch))
    if cfg.max_memory is not None:
        networks.amount(cfg.max_memory, f"max_memory={cfg.max_memory}")
    others = networks.read(Path(cfg.beside)) if cfg.beside is not None else []
    if cfg.beside is not None and not others:
        raise UserError(f"beside={cfg.beside}: there is no table of lineage compare.")
    known, data = _accuracies(cfg)
    dataset = data[0].partition("=")[2] if data else str(HydraConfig.get().runtime.choices["datamodule"])
    names = [name for word in cfg.networks for name in (papers.networks_of(dataset) if word == "all" else [str(word)])]
    configs = {name: several.config_of(name, data) for name in known or dict.fromkeys(names)}
    configs = configs if known else {several.in_papers(name, each): each for name, each in configs.items()}
    if not configs:
        raise UserError(f"arch=all: the papers' table has no network on {dataset}; name some, arch=resnet18,vgg11.")
    folder = Path(cfg.output)
    lock = Lock(folder)
    lock.acquire()
    follow_parent()

    with loading():
        from lineage.asking import comparing
        from lineage.reporting.screen import console, show_table

    rows = comparing.measured(configs, dataset, folder / "table.csv", known)
    best = networks.ranked(rows, bounds)
    show_table(console(), *networks.summary(best, min(cfg.batch)))
    print(*comparing.draw(folder, rows, best, others, cfg), sep="\n")
    lock.release()


def _accuracies(cfg: DictConfig) -> tuple[dict[str, networks.Row], list[str]]:
    """Of accuracy=runs, by network, and the words of the runs' data; otherwise nothing."""
    if (cfg.accuracy == "runs") != (cfg.run is not None):
        raise UserError("accuracy=runs run=SWEEP: both or neither.")
    if cfg.run is None:
        return {}, []
    if {"networks", "datamodule"} & set(overridden_keys()):
        raise UserError("accuracy=runs: networks and data are those of the runs; leave arch= and datamodule= out.")
    runs, names = Path(str(cfg.runs)), map(str, cfg.run if OmegaConf.is_list(cfg.run) else [cfg.run])
    found = ([job.folder for job in load_jobs(runs / name)] or [find_run(runs, name)] for name in names)
    folders = [folder for each in found for folder in each]
    known, words = networks.accuracies_of_runs([RunFiles(folder.name, folder) for folder in folders])
    return known, [word for word in words if reads("compare", key_of(word))]  # not datamodule.val_size


def run(words: Sequence[str]) -> Any:
    """Lists are written with commas, and arguments of all networks as arch.KEY=VALUE: Hydra reads arch=a,b arch.depth=8
    as networks=['a arch.depth=8','b arch.depth=8']."""
    names = several.networks_of(words)
    others = [_for_hydra(word) for word in words if not word.startswith(("arch=", "arch."))]
    return compare([*others, *([f"networks={names}"] if names else [])])


def _for_hydra(word: str) -> str:
    match word.split("=", 1):
        case ["batch", sizes]:
            return f"batch=[{','.join(several.items(sizes))}]"
        case ["under", conditions]:
            conditions = conditions.strip("'\"")
            return f"under={conditions!r}"
    return word
