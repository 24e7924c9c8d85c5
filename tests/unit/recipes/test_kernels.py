"""The kernels of a training step, counted on tensors without memory, of which no value can be read."""

import importlib
from collections import Counter
from contextlib import nullcontext
from typing import Any, get_args

import pytest
import torch
import yaml
from doors import ROOT
from short import assembled
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lineage.recipes.divergence import LossMonitor
from lineage.recipes.recipe import Optimizer

DATA = "datamodule=synthetic datamodule.samples=2048 trainer=cpu recipe.mixed_precision=false"
SMALL = "datamodule.resolution=32 datamodule.num_classes=10"
KERNELS = yaml.safe_load((ROOT / "tests" / "golden" / "kernels.yaml").read_text())
MOST = KERNELS["commands"] | {
    f"arch=resnet_cifar recipe=sgd_step SMALL recipe.optimizer={words}": (184, most)
    for words, most in KERNELS["optimizers"].items()
}


class Kernels(TorchDispatchMode):
    """Counts operations, but neither views nor memory that is not filled."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name = str(function)
        if "_fused_" in name:  # there is none for the meta device
            self.counted[name] += 1
            return None
        result = function(*arguments, **(keywords or {}))
        on_device = any(
            tensor.is_meta for tensor in tree_leaves((arguments, result)) if isinstance(tensor, torch.Tensor)
        )
        self.counted[name] += on_device and not (function.is_view or "empty" in name)
        return result


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let optimisers take the paths of a GPU."""
    for module in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
        for name in ("_get_foreach_kernels_supported_devices", "_get_fused_kernels_supported_devices"):
            monkeypatch.setattr(importlib.import_module(module), name, lambda: ["meta"])
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(LossMonitor, "after_step", lambda *_: None)  # it reads the loss if there is no GPU


def second_step(words: str) -> tuple[int, int]:
    """The kernels of a command's second step: of its micro-batches, and of the rest. The first one allocates."""
    classifier, data, trainer = assembled(*words.split())
    classifier.to("meta").trainer = data.trainer = trainer
    trainer.strategy.connect(classifier)
    trainer.strategy.setup_optimizers(trainer)
    classifier.on_fit_start()
    batches = [[*(part.to("meta") for part in batch[:3]), *batch[3:]] for batch in next(iter(data.train_dataloader()))]
    accumulate, of_passes = classifier._accumulate_gradients, 0

    def counting(*arguments: Any) -> Any:
        nonlocal of_passes
        loss, of_passes = accumulate(*arguments), kernels.counted.total()
        return loss

    classifier._accumulate_gradients = counting
    for _ in range(2):
        with Kernels() as kernels:
            classifier.training_step(batches, 0)
    return of_passes, kernels.counted.total() - of_passes


@pytest.mark.parametrize("words", MOST)
def test_a_step_reads_nothing_from_the_device_and_launches_few_kernels(as_on_a_gpu, words):
    found, most = second_step(f"{DATA} {words.replace('SMALL', SMALL)}"), MOST[words]
    assert found[0] <= most[0] and found[1] <= most[1], found


def test_every_optimizer_is_counted():
    assert {words.split()[0] for words in KERNELS["optimizers"]} == {*get_args(Optimizer.__metadata__[0])}
