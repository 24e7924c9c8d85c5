"""The checks of a sweep's jobs, before the first runs."""

import pytest
from doors import ROOT
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from lineage.errors import UserError
from lineage.sweeps import jobs
from lineage.sweeps.configs import JobConfigs

POINTS = (
    ["recipe.lr=0.2", "seed=2", "+datamodule.mine=[1,2]"],
    ["recipe.lr=0.1", "seed=1"],
    ["recipe.epochs=9", "seed=2", "arch=resnet50", "experiment=resnet20_cifar10"],
    ["arch=resnet50", "experiment=resnet20_cifar10", "seed=3", "~arch.stem"],
    ["recipe={lr: 0.3}", "run=grid", "trainer.devices=1"],
)


def test_a_job_has_the_config_that_hydra_composes():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        sweep = loader.load_configuration("train", ["run=grid"], RunMode.MULTIRUN)
        configs = JobConfigs(loader, sweep)
        for words in POINTS:
            config, hydra = configs.of(words)
            expected = loader.load_sweep_config(sweep, words)
            assert hydra.overrides.task == expected.hydra.overrides.task == words
            assert hydra.runtime.choices == expected.hydra.runtime.choices
            plain = {**OmegaConf.to_container(expected, resolve=False), "run": "grid"}
            del plain["hydra"]
            assert OmegaConf.to_container(config, resolve=False) == plain
    assert configs.composed.cache_info().misses == 3


def test_a_wrong_job_is_named():
    def check(words):
        if words[1] == "seed=7":
            raise UserError("it cannot work.")

    with pytest.raises(UserError, match=r"\[8/9\] seed=7: it cannot work\."):
        jobs.check_each([["recipe=wrn", f"seed={seed}"] for seed in range(9)], check)
