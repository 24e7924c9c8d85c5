"""The kernels of a training step, counted on tensors without memory, of which no value can be read."""

import importlib
from collections import Counter
from contextlib import nullcontext
from typing import Any, get_args

import pytest
import torch
from short import assembled
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lineage.recipes.divergence import LossMonitor
from lineage.recipes.recipe import Optimizer

DATA = "datamodule=synthetic datamodule.samples=2048 trainer=cpu recipe.mixed_precision=false"
PIXELS = f"{DATA} datamodule.resolution=32 datamodule.num_classes=10"
RESNET20 = f"arch=resnet_cifar recipe=sgd_step {PIXELS}"
ADAM = "recipe.nesterov=false recipe.beta2=0.999 recipe.eps=1e-6"
# By words: most kernels of the micro-batch, and of all the rest of the step.
MODELS = {
    f"arch=airbench arch.variant=2024 recipe=speedrun_2024 {PIXELS}": (111, 3),
    f"arch=airbench recipe=speedrun {PIXELS}": (111, 120),
    RESNET20: (184, 1),  # of which 152 are the network's own: of three a layer, forward and backward
    f"{RESNET20} trainer.max_per_device=64": (440, 2),  # gradients and statistics are added up
    f"arch=resnet50 recipe=rsb_a2 {DATA} recipe.rand_augment= recipe.batch_size=256": (560, 35),
}
OPTIMIZERS = {  # of RESNET20; all the rest of the step
    "sgd": 1, "sgd recipe.grad_clip=1": 12, "sgd recipe.ema=0.9": 3,
    "sgd recipe.lookahead=0.9 recipe.lookahead_steps=5": 1,  # not one of the steps that it follows
    f"lamb {ADAM} recipe.lamb_clip=1": 27, f"adamw {ADAM}": 8, f"adam {ADAM}": 8, f"nadamw {ADAM}": 9,
    "rmsproptf recipe.nesterov=false recipe.beta2=0.9 recipe.eps=1e-3": 9,
    "lars recipe.nesterov=false recipe.lars_trust=1e-3 recipe.eps=1e-8": 20,
    "muon recipe.muon_iterations=3 recipe.sgd_momentum=0.85 recipe.head_lr=0.67 recipe.bias_lr=0.053": 200,
    "lion recipe.nesterov=false recipe.beta2=0.99": 63,  # timm takes the sign of each tensor by itself
}  # fmt: skip


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


ALL = MODELS | {f"{RESNET20} recipe.optimizer={words}": (184, most) for words, most in OPTIMIZERS.items()}


@pytest.mark.parametrize("words", ALL)
def test_a_step_reads_nothing_from_the_device_and_launches_few_kernels(as_on_a_gpu, words):
    found, most = second_step(words), ALL[words]
    assert found[0] <= most[0] and found[1] <= most[1], found


def test_every_optimizer_is_counted():
    assert {words.split()[0] for words in OPTIMIZERS} == {*get_args(Optimizer.__metadata__[0])}
