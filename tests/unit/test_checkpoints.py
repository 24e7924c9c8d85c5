"""What a checkpoint says beside its tensors."""

from types import SimpleNamespace
from typing import Any

import torch

from lineage.running.checkpoints import LAST, Checkpoints, to_continue


def test_a_run_that_goes_on_knows_from_whose_weights_it_started(tmp_path):
    said = ["starts from the weights of mine.pt"]
    state: dict[str, Any] = {"state_dict": {}, "optimizer_states": [], "loops": {}, "global_step": 3, "callbacks": {}}
    module: Any = SimpleNamespace(network=SimpleNamespace(notes=said))
    Checkpoints(tmp_path, minutes=0, steps=0, facts={}).on_save_checkpoint(None, module, state)
    torch.save(state, tmp_path / LAST)
    assert to_continue(tmp_path).notes == said
