"""Recipes take real steps, in micro-batches, on the digits; the proofs try all of them on a network of each family."""

import gc

import pytest
from conftest import composed
from short import RECIPES, arch_of, assembled, shortened

QUICK = ("efficientnet", "fixres_finetune", "lenet_1998", "rsb_a1", "speedrun", "speedrun_2024", "vgg")
# A small network of each family.
FAMILIES = {
    "lenet5": (), "alexnet": (), "vgg11": ("arch.widths=[8,8,8,8,8]",), "googlenet": ("arch.aux_heads=true",),
    "bn_inception": (), "inception_v2": (), "inception_v3": (), "inception_v4": (), "inception_resnet_v2": (),
    "resnet18": (), "preact_resnet18": (), "wideresnet": ("arch.depth=10", "arch.widen_factor=1"), "resnext29": (),
    "se_resnet50": (), "densenet_bc": ("arch.depth=10", "arch.growth_rate=4"), "xception": (), "mobilenet_v1": (),
    "mobilenet_v2": (), "nasnet_a_cifar": ("arch.repeats=1", "arch.filters=8"), "efficientnet_b0": (),
    "airbench": (), "timm": ("arch.model_name=resnet10t",),
}  # fmt: skip
LARGER = ("lenet5", "vgg11", "airbench", "timm")  # need 32 pixels a side; the others take 16, for speed
RATES = {"lamb": 5e-3, "adamw": 1e-3, "rmsproptf": 1e-3}


def fitted(*words: str):
    """The classifier after its epochs of 96 digits, and the mean loss of each epoch."""
    small = ("trainer=cpu", "trainer.keep_memory=false", "datamodule.val_size=1341", "trainer.limit_val_batches=1")
    classifier, data, trainer = assembled(*small, *words)
    losses: list[float] = []
    finish = classifier.on_train_epoch_end
    classifier.on_train_epoch_end = lambda: (losses.append(classifier.train_metrics["train_loss"]), finish())
    trainer.fit(classifier, datamodule=data)
    return classifier, losses


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.proofs) for name in RECIPES]
)
def test_a_recipe_lowers_the_loss_in_micro_batches(name):
    recipe = composed(f"recipe={name}").recipe
    rates = RATES if recipe.eps < 1 else {}  # with a large eps RMSProp has the rates of SGD
    rate = 1e-4 if recipe.loss == "rbf" else rates.get(recipe.optimizer, 0.02) / (32 if recipe.loss_sum else 1)
    words = [word for word in shortened(name, batch_size=32) if "recipe.lrs" not in word]
    words += [f"recipe.lr={rate}", "recipe.epochs=8", "trainer.max_per_device=16"]
    if recipe.schedule == "list":
        words.append(f"recipe.lrs=[{rate},{rate / 10}]")
    if recipe.decay_epochs:
        words.append("recipe.decay_epochs=[6]")
    _, losses = fitted(*arch_of(name), *words)
    assert min(losses[-2:]) < losses[0]


@pytest.fixture
def collected():
    """Free networks and trainers, which refer to each other: otherwise about a hundred are held at a time."""
    yield
    gc.collect()


@pytest.mark.proofs
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("arch", FAMILIES)
@pytest.mark.parametrize("name", RECIPES)
def test_a_family_under_a_recipe(name, arch):
    side = 32 if arch in LARGER else 16
    words = ["trainer.limit_train_batches=3", f"datamodule.resolution={side}", "trainer.max_per_device=4"]
    words += ["recipe.mixed_precision=false", "datamodule.val_size=8"]
    if composed(f"recipe={name}").recipe.loss == "rbf" and arch != "lenet5":
        pytest.skip("distances to codes are LeNet-5's")
    more = ["arch.variant=1998"] if name == "lenet_1998" else []
    found, losses = fitted(
        f"arch={arch}", *FAMILIES[arch], *more, *shortened(name, side), *words, "trainer.max_epochs=1"
    )
    assert found.global_step == 3 and len(losses) == 1
