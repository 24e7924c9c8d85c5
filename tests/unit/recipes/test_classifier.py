"""Steps of a classifier in a real trainer, on the digits."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from conftest import composed, recipe_of
from pytorch_lightning.plugins.precision import MixedPrecision
from short import assembled
from torch.utils._python_dispatch import TorchDispatchMode

from lineage import assemble
from lineage.errors import UserError
from lineage.recipes.augment import boxes, resizing
from lineage.recipes.evaluation import Evaluator

RESNET = ("arch=resnet_cifar", "arch.depth=8")
SMALL = tuple(
    "recipe.epochs=1 recipe.schedule=constant recipe.decay_epochs=[] recipe.decay_rate=0 trainer=cpu "
    "datamodule.val_size=1341 trainer.limit_val_batches=1".split()
)


def fitted(*words: str, arch=RESNET, inside=None, precision=None):
    """The classifier after three steps of 32 images, of 96."""
    classifier, data, trainer = assembled(*arch, *SMALL, "recipe.batch_size=32", *words)
    if precision is not None:
        trainer.strategy.precision_plugin = precision
    with inside or nullcontext():
        trainer.fit(classifier, datamodule=data)
    return classifier


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


class Types(TorchDispatchMode):
    """The types of the tensors that operations make, with one operation of each."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[torch.dtype, object] = {}

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        tensors = result if isinstance(result, tuple | list) else [result]
        self.seen |= {tensor.dtype: function for tensor in tensors if isinstance(tensor, torch.Tensor)}
        return result


def test_a_device_without_float64_trains_and_validates(monkeypatch):
    monkeypatch.setattr(assemble, "_has_float64", lambda trainer: False)
    for module in (boxes, resizing):
        monkeypatch.setattr(module, "double", torch.Tensor.float)  # as on such a device
    words = "rand_augment='' ema=0.9 warmup_epochs=0 warmup_lr=0 repeated_aug=0 erasing_prob=0.5"
    types = Types()
    found = fitted("recipe=rsb_a2", *(f"recipe.{word}" for word in words.split()), inside=types)
    assert torch.float32 in types.seen and torch.float64 not in types.seen, types.seen  # Apple's GPUs have no float64
    assert found.global_step == 3 and "val_top1" in found.trainer.callback_metrics


def test_a_loss_summed_over_the_step_is_the_mean_times_its_images():
    mean = fitted("recipe.lr=0.032", "recipe.weight_decay=0").network
    summed = fitted("recipe.lr=0.001", "recipe.weight_decay=0", "recipe.loss_sum=true", "trainer.max_per_device=8")
    split = fitted("recipe.lr=0.032", "recipe.weight_decay=0", "trainer.max_per_device=8").network
    torch.testing.assert_close(weights(summed.network), weights(split), rtol=1e-4, atol=1e-6)
    assert not torch.equal(weights(split), weights(mean))  # batch norm sees 8 images, not 32


def test_the_bias_of_airbenchs_whitening_is_trained_in_its_epochs_alone():
    """After them, here after two of three steps, neither momentum nor decay nor lookahead changes it."""
    words = ("recipe.lookahead=0.9", "recipe.lookahead_steps=1", "recipe.whiten_bias_epochs=0.6")
    classifier, data, trainer = assembled("arch=airbench", *SMALL, "recipe.batch_size=32", *words)
    bias, found = classifier.network.whiten_bias, []
    classifier.network.register_forward_pre_hook(lambda network, _: found.append(bias.tolist()))
    trainer.fit(classifier, datamodule=data)
    first, second, third = found[:3]
    assert first != second != third == bias.tolist()


@pytest.mark.parametrize("more", [(), ("recipe.precise_bn=64",), ("recipe.swa=1",)], ids=str)
def test_fine_tuning_changes_the_classifier_alone(more):
    before = assemble.network(composed(*RESNET, *SMALL))
    found = fitted("recipe.finetune=classifier", "recipe.momentum=0", "recipe.nesterov=false", *more)
    found = found.averages[0].network if found.averages else found.network
    after = found.state_dict()
    changed = {name for name, old in before.state_dict().items() if not torch.equal(old, after[name])}
    last = [name.rpartition(".")[0] for name in before.state_dict() if name.endswith("running_mean")][-1]
    statistics = {f"{last}.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"head.linear.weight", "head.linear.bias", *statistics}


@pytest.mark.parametrize("words", [("recipe.swa=1",), ("recipe.precise_bn=64", "recipe.ema=0.5")], ids=str)
def test_statistics_are_recomputed_before_an_evaluation(words):
    """In one pass over training images, whose number of batches tells which images were used."""
    plain = fitted(*(("recipe.ema=0.5",) if "recipe.ema=0.5" in words else ())).network
    found = fitted(*words)
    counted = {m.num_batches_tracked.item() for m in found.averages[0].network.modules() if hasattr(m, "running_mean")}
    assert counted == {2 if "recipe.precise_bn=64" in words else 3}  # batches of 32: 64 images, or all
    torch.testing.assert_close(weights(found.network), weights(plain))


def test_a_plateau_decays_the_rate_and_then_ends_the_training():
    words = ("recipe.schedule=plateau", "recipe.decay_rate=0.1", "recipe.patience=1", "recipe.max_decays=2")
    found = fitted(*words, "recipe.decay_epochs=[]", "recipe.epochs=30", "recipe.lr=1e-12")
    assert found.plateau.ended and found.trainer.current_epoch < 8


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_gradients_are_clipped_once_they_are_unscaled(optimizer):
    """With fp16's scaler, here on the CPU, the three steps are the same but for rounding.

    If gradients were clipped while they are scaled, they would be a thousandth of their size.
    """
    words = [f"recipe.optimizer={optimizer}", "recipe.grad_clip=0.1", "recipe.lr=0.01"]
    words += ["recipe.beta2=0.999", "recipe.eps=1e-3"] if optimizer == "adamw" else []
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    scaled, plain = (weights(fitted(*words, precision=one).network) for one in (precision, None))
    assert precision.scaler.get_scale() == 1024 and precision.scaler._get_growth_tracker() == 3  # no step overflowed
    before = weights(assemble.network(composed(*RESNET, *SMALL)))
    assert (scaled - plain).norm() < 0.5 * (plain - before).norm()


def test_a_precision_that_the_device_lacks_is_refused():
    with pytest.raises(UserError, match="trainer.precision=16-mixed: this device takes bf16-mixed or 32-true"):
        assemble.trainer(composed("trainer=cpu", "trainer.precision=16-mixed"), torch.nn.Identity())


def test_a_deterministic_run_lets_cudnn_choose_no_kernels(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        assemble.trainer(composed("trainer=cpu", "trainer.deterministic=true"), torch.nn.Identity())
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)


def test_an_average_follows_lookahead():
    found = fitted("recipe.swa=1", "recipe.lookahead=0.5", "recipe.lookahead_steps=2")
    assert torch.equal(weights(found.averages[0].network), weights(found.network))


def test_schedule_and_average_follow_a_limited_epoch():
    """Two epochs have one step each: the rate falls at the second, whose weights are the average."""
    words = ["recipe.schedule=multistep", "recipe.decay_epochs=[1]", "recipe.decay_rate=0.1", "recipe.epochs=2"]
    found = fitted(*words, "recipe.swa=1", "trainer.limit_train_batches=1")
    assert found.global_step == found.total_steps == 2
    assert found.optimizers().param_groups[0]["lr"] == pytest.approx(0.1 * found.recipe.lr)
    assert torch.equal(weights(found.averages[0].network), weights(found.network))


def test_a_network_that_starts_from_data_keeps_pretrained_weights():
    arch, one = ("arch=airbench", "arch.widths=[8,8,8]"), "trainer.limit_train_batches=1"
    first = fitted(one, arch=arch).network.stem[0].weight
    given = fitted(one, "pretrained=not read here", arch=arch).network.stem[0].weight
    assert torch.equal(given, assemble.network(composed(*arch)).stem[0].weight) and not torch.equal(given, first)


def test_the_smallest_of_progressive_sizes_is_large_enough():
    sizes = ("datamodule.resolution=299", "recipe.train_res=100", "recipe.progressive_res=[20,100]")
    with pytest.raises(UserError, match=r"at least 75x75; the smallest of recipe.progressive_res, here 60 pixels"):
        assemble.network(composed("arch=inception_v3", *sizes), device="meta")


def test_an_accuracy_of_no_images_is_refused():
    evaluator = Evaluator(torch.nn.Identity(), recipe_of("sgd_step"), torch.nn.Identity(), num_classes=10)
    trainer = assemble.trainer(composed("trainer=cpu"), evaluator.network)
    evaluator.trainer = trainer  # a weak reference
    evaluator._evaluate(SimpleNamespace(images=torch.zeros(0, 1, 8, 8)), "val")
    with pytest.raises(UserError, match="None of the val images could be read"):
        evaluator.on_validation_epoch_end()
