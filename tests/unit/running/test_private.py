"""Private names of other projects that our modules use: an upgrade that changes one fails here."""

import inspect

import pytest
import torch
from conftest import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning_fabric.strategies.launchers.subprocess_script import _hydra_subprocess_cmd
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ValidationError
from pytorch_lightning.strategies.launchers import subprocess_script
from torch.nn.parallel import DistributedDataParallel

from lineage.running.ranks import observe_children


def test_running_trainer():
    for supported in (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported):
        assert isinstance(supported(), bool)
    words = inspect.signature(DistributedDataParallel.__init__).parameters
    assert "forward_sync_buffers" in words or "broadcast_buffers" in words


def test_running_ranks():
    """Lightning starts a rank with sys.argv and hydra.run.dir; the environment passes the run's name."""
    launcher = subprocess_script._SubprocessScriptLauncher
    lone = launcher.__new__(launcher)
    lone.__init__(None, 2, 1)
    assert lone.procs == [] and subprocess_script._launch_process_observer is observe_children
    source, command = inspect.getsource(launcher), inspect.getsource(_hydra_subprocess_cmd)
    assert "_launch_process_observer(self.procs)" in source and "os.environ.copy()" in source
    assert "sys.argv[1:]" in command and "hydra.run.dir=" in command


def test_recipes_randomness():
    torch.default_generator.manual_seed(3)
    assert torch.initial_seed() == 3 and isinstance(torch.cuda.default_generators, tuple)


def test_hydra_plugins_sweeper():
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # Hydra imports it anew when a command begins

    parsed = OverridesParser.create().parse_overrides(["a=1,2", "b=3"])
    assert BasicSweeper.split_arguments(parsed, None) == [[["a=1", "b=3"], ["a=2", "b=3"]]]
    assert BasicSweeper(None, {"c": "4"})._parse_config() == ["c=4"]


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda cfg: OmegaConf.update(cfg, "recipe.lrr", 1), ConfigKeyError | ConfigAttributeError, "Key 'lrr' not in"),
        (lambda cfg: OmegaConf.update(cfg, "recipe.epochs", "x"), ValidationError, "could not be converted to Integer"),
        (lambda cfg: OmegaConf.update(cfg, "recipe.lr", None), ValidationError, "not Optional"),
    ],
)
def test_running_errors(act, error, words):
    """The sentences of OmegaConf that lineage/config/messages.py parses."""
    cfg = composed()
    OmegaConf.set_struct(cfg, True)
    with pytest.raises(Exception, match=words) as found:
        act(cfg)
    assert isinstance(found.value, error)
    parent = getattr(found.value, "parent_node", None)
    assert parent is None or parent._get_parent() is cfg


def test_torch_says_what_running_errors_reads():
    """That there is no compiler."""
    from torch._inductor.exc import InvalidCxxCompiler  # slow to import

    assert "C++ compiler" in str(InvalidCxxCompiler())
