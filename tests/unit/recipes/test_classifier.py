"""Steps of a classifier in a real trainer, on the digits."""

import math
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
from lineage.recipes import micro_batch
from lineage.recipes.augment import boxes, resizing
from lineage.recipes.augment.randomness import key_hash
from lineage.recipes.classifier import Classifier
from lineage.recipes.divergence import Diverged, LossMonitor
from lineage.recipes.evaluation import Evaluator
from lineage.recipes.predictions import Predictions
from lineage.recipes.resuming import TrainingState

RESNET = ("arch=resnet_cifar", "arch.depth=8")
SMALL = tuple(
    "recipe.epochs=1 recipe.schedule=constant recipe.decay_epochs=[] recipe.decay_rate=0 trainer=cpu "
    "datamodule.val_size=1341 trainer.limit_val_batches=1".split()
)

LOOKAHEAD = ("recipe.lookahead=0.9", "recipe.lookahead_steps=1")
PLATEAU = "recipe.decay_rate=0.1 recipe.patience=1 recipe.max_decays=2 recipe.decay_epochs=[]".split()


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


def test_the_bias_of_airbenchs_whitening_is_trained_in_its_epochs_alone():
    """After them, here after two of three steps, neither momentum nor decay nor lookahead changes it."""
    words = ("arch=airbench", *SMALL, "recipe.batch_size=32", *LOOKAHEAD, "recipe.whiten_bias_epochs=0.6")
    classifier, data, trainer = assembled(*words)
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
    found = fitted("recipe.schedule=plateau", *PLATEAU, "recipe.epochs=30", "recipe.lr=1e-12")
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


# ---- against values made by hand


def ready(*words: str, **devices) -> Classifier:
    """A classifier before its first step, whose trainer has other `devices`."""
    classifier, _, trainer = assembled("trainer=cpu", *words)
    facts = {"world_size": 1, "global_rank": 0, "is_global_zero": True, "global_step": 0, **devices}
    classifier.trainer = SimpleNamespace(strategy=trainer.strategy, should_stop=False, current_epoch=0, **facts)
    classifier.manual_backward = torch.Tensor.backward
    classifier.on_fit_start()
    return classifier


@pytest.mark.parametrize("per", ["step", "chunk"])
def test_random_numbers_are_a_function_of_seed_step_and_micro_batch(per, monkeypatch):
    mixes, numbers, progress = [], [], []
    monkeypatch.setattr(micro_batch, "draw_mix", lambda recipe, height, width, *key: mixes.append(key))
    words = ("seed=3", "recipe.mixup_alpha=0.2", f"recipe.mix_per={per}", "trainer.max_per_device=16")
    classifier, data, trainer = assembled(*RESNET, *SMALL, "recipe.batch_size=32", *words)
    classifier.network.register_forward_pre_hook(lambda *_: numbers.append(torch.rand(()).item()))
    classifier.network.set_progress = progress.append
    trainer.fit(classifier, datamodule=data)
    assert progress == [0, 1 / 3, 2 / 3]  # what drop path grows by
    places = [(3, step, chunk) for step in range(3) for chunk in range(2)]
    seeds = [torch.Generator().manual_seed(key_hash(*place)) for place in places]
    assert numbers[:6] == [torch.rand((), generator=seed).item() for seed in seeds]
    assert mixes == [place[: 2 if per == "step" else 3] for place in places]


def test_the_metrics_of_an_epoch_are_means_over_its_own_images():
    """Each of three epochs has micro-batches of 16, 16, 4 and 4 images."""
    words = ("recipe.batch_size=32", "recipe.drop_last=false", "recipe.epochs=3", "trainer.max_per_device=16")
    classifier, data, trainer = assembled(*RESNET, *SMALL, *words, "datamodule.val_size=1397")
    passes, end, found, told = classifier.forward_pass, classifier.on_train_epoch_end, [], []

    def forward_pass(pixels, labels, targets):
        loss, correct = passes(pixels, labels, targets)
        found.append((loss.item() * len(labels), int(correct), len(labels)))
        return loss, correct

    classifier.forward_pass = forward_pass
    classifier.on_train_epoch_end = lambda: (told.append(dict(classifier.train_metrics)), end())
    trainer.fit(classifier, datamodule=data)
    for epoch, metrics in enumerate(told):
        loss, correct, images = map(sum, zip(*found[4 * epoch : 4 * epoch + 4], strict=True))
        assert images == 40 and metrics["train_loss"] == pytest.approx(loss / 40, rel=1e-6)
        assert metrics["train_top1"] == correct / 40


def test_a_step_has_the_gradient_of_the_mean_over_its_images():
    """In one micro-batch, or in two of three images and of one; of the sum too."""
    images, labels, found = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8), torch.tensor([1, 2, 3, 4]), []
    keys = torch.zeros(4, 3, dtype=torch.int64)
    for loss_sum, parts in ((False, [4]), (False, [3, 1]), (True, [4]), (True, [3, 1])):
        classifier = ready("arch=lenet5", f"recipe.loss_sum={loss_sum}")
        cut = zip(*(whole.split(parts) for whole in (images, labels, keys)), strict=True)
        batches = [(*part, chunk, count / 4) for chunk, (part, count) in enumerate(zip(cut, parts, strict=True))]
        loss = classifier._accumulate_gradients(batches, 0)
        gradient = torch.cat([parameter.grad.flatten() for parameter in classifier.network.parameters()])
        found.append((gradient / (4 if loss_sum else 1), loss, classifier.epoch_sums[0] / 4, classifier.epoch_sums[2]))
    classifier.recipe.grad_clip = 0.1
    classifier.on_before_optimizer_step(None)
    assert sum(float(p.grad.square().sum()) for p in classifier.network.parameters()) == pytest.approx(0.1**2, rel=1e-4)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-7)
    assert found[0][1] == pytest.approx(float(found[0][2])) and found[0][3] == 4


def test_the_sums_of_a_stopped_epoch_go_on_with_the_first_device(monkeypatch):
    classifier, checkpoint = ready("arch=lenet5", "recipe.schedule=plateau", *PLATEAU), {}
    classifier.epoch_sums += torch.tensor([1, 2, 3])
    others = torch.tensor([10, 20, 30])  # another device's
    monkeypatch.setattr(classifier.trainer.strategy, "reduce", lambda own, reduce_op: own.add_(others))
    classifier.plateau.after_epoch(0.5)
    classifier.on_save_checkpoint(checkpoint)
    assert classifier.epoch_sums.tolist() == [1, 2, 3]
    for first, expected in ((True, [11, 22, 33]), (False, [0, 0, 0])):
        resumed = ready("arch=lenet5", "recipe.schedule=plateau", *PLATEAU, is_global_zero=first)
        resumed.on_load_checkpoint(checkpoint)
        assert resumed.epoch_sums.tolist() == expected and resumed.plateau.best == 0.5
    resumed.teachers = [SimpleNamespace(digest="another")]
    with pytest.raises(UserError, match="no longer those that this run began with"):
        resumed.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_the_training(loss):
    monitor = LossMonitor()
    monitor.after_step(torch.tensor(2.0), torch.tensor([2.0, 0, 1]), 5)
    monitor.check_last()
    with pytest.raises(Diverged, match="at step 7"):
        monitor.after_step(torch.tensor(loss), torch.tensor([loss, 0, 1]), 6)
    with pytest.raises(Diverged, match="is not saved"):
        monitor.check_last()


def test_devices_average_their_statistics_and_get_their_own_back(monkeypatch):
    classifier = ready(*RESNET, "recipe.ema=0.9", *LOOKAHEAD, world_size=2, global_rank=1)
    monkeypatch.setattr(classifier.trainer.strategy, "reduce", lambda own, reduce_op: own + {"mean": 1}[reduce_op])
    networks = [classifier.network, classifier.averages[0].network]
    statistics = [b for network in networks for b in network.buffers() if b.is_floating_point()]
    statistics += classifier.lookaheads[0].slow[-len(statistics) // 2 :]
    before, kept = [tensor.clone() for tensor in statistics], weights(classifier.network).clone()
    classifier.refresh_statistics()
    assert all(torch.equal(old + 1, new) for old, new in zip(before, statistics, strict=True))
    own = torch.arange(sum(tensor.numel() for tensor in statistics)).float()
    classifier.saved_statistics = torch.stack((torch.zeros_like(own), own))
    TrainingState.on_train_start(classifier)
    assert torch.equal(torch.cat([tensor.flatten() for tensor in statistics]), own)
    assert torch.equal(weights(classifier.network), kept)


def test_schedule_and_average_follow_a_limited_epoch():
    """Two epochs have one step each: the rate falls at the second, whose weights, after lookahead, are the average."""
    words = ["recipe.schedule=multistep", "recipe.decay_epochs=[1]", "recipe.decay_rate=0.1", "recipe.epochs=2"]
    found = fitted(*words, "recipe.swa=1", *LOOKAHEAD, "recipe.norm_bias_lr_factor=8", "trainer.limit_train_batches=1")
    assert found.global_step == found.total_steps == 2
    rates = [group["lr"] for group in found.optimizers().param_groups]
    assert sorted({*rates}) == pytest.approx([0.1 * found.recipe.lr, 0.8 * found.recipe.lr])
    average = found.averages[0].network
    assert torch.equal(weights(average), weights(found.network))
    assert found.evaluated_networks("val") == {"val": average, "val_raw": found.network}
    assert found.evaluated_networks("test") == {"test": average}


def test_a_network_that_starts_from_data_keeps_pretrained_weights():
    arch, one = ("arch=airbench", "arch.widths=[8,8,8]"), "trainer.limit_train_batches=1"
    started = fitted(one, "recipe.ema=0.5", arch=arch)
    first = started.network.stem[0].weight
    torch.testing.assert_close(started.averages[0].network.stem[0].weight, first)  # which is not trained
    given = fitted(one, "pretrained=not read here", arch=arch).network.stem[0].weight
    assert torch.equal(given, assemble.network(composed(*arch)).stem[0].weight) and not torch.equal(given, first)


def test_the_smallest_of_progressive_sizes_is_large_enough():
    sizes = ("datamodule.resolution=299", "recipe.train_res=100", "recipe.progressive_res=[20,100]")
    with pytest.raises(UserError, match=r"at least 75x75; the smallest of recipe.progressive_res, here 60 pixels"):
        assemble.network(composed("arch=inception_v3", *sizes), device="meta")


def test_predictions_have_each_image_once_in_order():
    predictions = Predictions(top=2, keep_logits=False, exact=True)
    for index in torch.tensor([[2, 0], [0, 1]]):  # a sampler fills up the last batch with the first images
        predictions.add(index, index, index / 10, torch.eye(3)[index])
    found = predictions.gather()
    assert found["index"].tolist() == found["top_class"][:, 0].tolist() == [0, 1, 2]
    assert found["loss"].tolist() == pytest.approx([0, 0.1, 0.2])


def test_metrics_are_means_over_images():
    """Twice, by hand: the second pass knows nothing of the first; of no images there is no mean."""
    evaluator = Evaluator(torch.nn.Flatten(), recipe_of("sgd_step"), torch.nn.Identity(), num_classes=7)
    trainer = assemble.trainer(composed("trainer=cpu"), evaluator.network)
    evaluator.trainer, found = trainer, []  # a weak reference
    evaluator.log_dict = lambda values, logger: found.append({name: float(value) for name, value in values.items()})
    logits = torch.tensor([[7.0, 6, 5, 4, 3, 2, 1]] * 4)
    labels = torch.tensor([0, 2, 6, 0])  # the first of seven, the third, the last, the first
    images = logits[:, None, None]
    for _ in range(2):
        for part in (slice(0, 3), slice(3, 4), slice(4, 4)):
            evaluator.validation_step(SimpleNamespace(images=images[part], labels=labels[part]), 0)
        evaluator.on_validation_epoch_end()
    loss = (logits.logsumexp(1) - logits[torch.arange(4), labels]).mean().item()
    expected = pytest.approx({"val_top1": 0.5, "val_top5": 0.75, "val_loss": loss}, rel=1e-6)
    assert found == [expected, expected]
    evaluator._evaluate(SimpleNamespace(images=torch.zeros(0, 1, 8, 8)), "val")
    with pytest.raises(UserError, match="None of the val images could be read"):
        evaluator.on_validation_epoch_end()
