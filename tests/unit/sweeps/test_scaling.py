"""The grid of compound scaling, and the objectives of a search."""

import math
from functools import cache

import pytest
from doors import ROOT
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from lineage import assemble
from lineage.errors import UserError
from lineage.sweeps.configs import JobConfigs
from lineage.sweeps.objectives import Objectives
from lineage.sweeps.space import Space
from lineage.sweeps.strategies.scaling import Scaling

IMAGENET = "arch=efficientnet recipe=efficientnet datamodule=imagenet"


def grid(words: str, **keys) -> Scaling:
    """The strategy, as conf/hydra/sweeper/scaling.yaml has it, with other keys and words."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        sweep = loader.load_configuration("train", ["run=grid", "hydra/sweeper=scaling"], RunMode.MULTIRUN)
        configs = JobConfigs(loader, sweep)
        sweeper = sweep.hydra.sweeper
        given = {word.split("=")[0] for word in words.split()}
        words = [*words.split(), *(f"{key}={value}" for key, value in sweeper.params.items() if key not in given)]
        space = Space(OverridesParser.create(config_loader=loader).parse_overrides(words))
        cost = cache(lambda words: assemble.cost(configs.of(words)[0]))
        return Scaling(space, cost, **{key: sweeper[key] for key in ("target", "tolerance", "hold")} | keys)


def test_the_grid_of_the_paper():
    """108 triples make 65 networks, and what is nominally twice as much is up to three times as much."""
    strategy = grid(IMAGENET)
    assert strategy.trials == len(strategy.table) == 65
    real = {}
    for row in strategy.table:
        triples = [f"{row['alpha']:g},{row['beta']:g},{row['gamma']:g}", *row["equal"].split()]
        real |= dict.fromkeys(triples, round(row["real"], 2))
    assert len(real) == 108
    assert real["1.2,1.1,1.15"] == 2.57 and real["1.05,1.05,1.3"] == 3.01
    assert (real["2,1,1"], real["1,1.4,1"], real["1,1,1.4"]) == (2.03, 1.93, 2.02)
    asked = [*strategy.ask(2), *strategy.ask(100)]
    assert len(set(asked)) == 65 and asked[0] == ("arch.alpha=1", "arch.beta=1", "arch.gamma=1.4")


def test_real_growth_is_held_at_the_target():
    strategy = grid(
        "arch=resnet18 datamodule=cifar10 arch.alpha=1.5 arch.beta=range(1,1.2,0.05) arch.phi=1,1.2 seed=0,1",
        hold="macs",
    )
    assert strategy.trials == 2 * len(strategy.table)  # of two seeds
    assert all(abs(row["real"] - 2) <= 0.2 for row in strategy.table)
    assert any(abs(row["nominal"] - 2) > 0.2 for row in strategy.table)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("datamodule=cifar10 datamodule.resolution=32", "arch.gamma: images do not grow with it"),
        ("datamodule=mnist", "arch.gamma: images do not grow with it"),  # which are padded
        ("datamodule=cifar10 arch.alpha=1.6,1.7 arch.beta=1 arch.gamma=1", "no network is that near to 2"),
    ],
)
def test_a_grid_that_cannot_be(words, said):
    with pytest.raises(UserError, match=said):
        grid(f"arch=mobilenet_v1 {words}")


def test_objectives():
    results = {"val_top1": 0.5, "macs": 8e8, "seconds": 3, "val_loss": math.nan}
    plain = Objectives("val_top1", ["seconds", "val_loss"], None)
    assert plain.values(results) == (0.5, 3.0, math.inf) and plain.failed == (0, math.inf, math.inf)
    assert plain.directions == ["maximize", "minimize", "minimize"]
    rewarded = Objectives("val_top1", None, 4e8)  # twice the multiply-adds cost a twentieth of the accuracy
    assert rewarded.values(results) == pytest.approx((0.5 * 2**-0.07,)) and rewarded.values({"macs": 8e8}) == (0,)
