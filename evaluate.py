"""Evaluate a run, a checkpoint or released weights: python evaluate.py run=NAME datamodule=cifar10 split=test"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from recipes.recipe import Recipe
from running import errors, schema  # noqa: F401


def with_run(cfg: DictConfig, words: list[str]) -> DictConfig:
    """The config of the run, except for the groups and values that the command names."""
    folder = Path("runs") / str(cfg.run)
    if not (folder / "config.yaml").exists():
        raise errors.UserError(f"{folder} holds no run.{errors.nearest(str(cfg.run), run_names())}")
    saved: Any = OmegaConf.load(folder / "config.yaml")
    saved.recipe = OmegaConf.merge(OmegaConf.structured(Recipe), saved.recipe)
    keys = [word.split("=")[0].lstrip("+") for word in words]
    values = {key: OmegaConf.select(cfg, key) for key in keys if "." in key}
    with open_dict(cfg):
        for group in {"arch", "datamodule", "recipe", "seed"} - set(keys):
            cfg[group] = saved[group]
        for key, value in values.items():
            OmegaConf.update(cfg, key, value)
        if cfg.checkpoint in ("last", "best"):
            cfg.checkpoint = str(folder / "checkpoints" / f"{cfg.checkpoint}.ckpt")
    return cfg


def run_names() -> list[str]:
    return [str(path.parent.relative_to("runs")) for path in Path("runs").rglob("config.yaml")]


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@errors.for_people()
def main(cfg: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate
    from rich.console import Console

    from running import checkpoints, results, screen
    from running.check import apply_resolution, check_values, complete_arch
    from train import build, build_network

    words = list(HydraConfig.get().overrides.task)
    check_values(cfg, words, "evaluate")
    complete_arch(cfg)
    cfg = with_run(cfg, words) if cfg.run is not None else cfg
    apply_resolution(cfg)
    if cfg.crop is not None:
        if cfg.datamodule.resolution is not None:
            raise errors.UserError("crop: these images have one size and are not cropped; resolution= resizes them.")
        cfg.recipe.test_crop_ratio = cfg.crop
    cast(Recipe, OmegaConf.to_object(cfg.recipe)).check()
    if cfg.split not in ("test", "val", "train"):
        raise errors.UserError(f"split={cfg.split}: it is one of test, val, train.")
    if cfg.run is None and cfg.checkpoint in ("last", "best") and not cfg.arch.get("pretrained"):
        raise errors.UserError("Nothing to evaluate: name run=NAME, checkpoint=FILE, or an arch with released weights.")

    network = build_network(cfg, cfg.arch.pretrained if cfg.checkpoint in ("last", "best") else None)
    resolution = cfg.datamodule.resolution or cfg.recipe.test_res
    macs = results.count_macs(network, cfg.datamodule.channels, resolution)
    trainer = instantiate(cfg.trainer, _partial_=True)(
        macs=macs, logger=[], callbacks=[], default_root_dir=Path.cwd(), enable_checkpointing=False
    )
    classifier, datamodule = build(cfg, network, trainer)
    if cfg.checkpoint not in ("last", "best"):
        load_weights(classifier, checkpoints.read(Path(cfg.checkpoint)), cfg.checkpoint)
    datamodule.test = getattr(datamodule, cfg.split)

    trainer.test(classifier, datamodule=datamodule, verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    notes = [*getattr(network, "remarks", ()), *datamodule.facts]
    console = Console(quiet=not trainer.is_global_zero)
    weights = cfg.arch.pretrained if cfg.checkpoint in ("last", "best") else cfg.checkpoint
    rows = {"weights": weights, "data": f"{len(datamodule.test):,} images of split {cfg.split}, {resolution} px"}
    screen.show_plan(console, rows | {name: f"{value:.6f}" for name, value in found.items()}, notes)


def load_weights(classifier: Any, state: dict[str, Any], name: str) -> None:
    """The checkpoint's weights, its averaged ones if it has them. Raises UserError where the network is another."""
    if "state_dict" not in state or "averages" not in state:
        raise errors.UserError(f"{name} is not a checkpoint of a run.")
    from archs.pretrained import network_weights

    mine, theirs = classifier.network.state_dict(), network_weights(state)
    shapes = [{key: tensor.shape for key, tensor in tensors.items()} for tensors in (mine, theirs)]
    different = sorted({key for key, _ in shapes[0].items() ^ shapes[1].items()})
    if different:
        raise errors.UserError(f"{name} is of another network: {different[0]} and {len(different) - 1} more differ.")
    classifier.network.load_state_dict(theirs)
    classifier.averages = []


if __name__ == "__main__":
    with errors.for_people():
        main()
