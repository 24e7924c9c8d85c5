"""The learning rate of every recipe against the schedule of its source, and the boundaries of all schedules."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import pytest
import torch
from conftest import recipe_of
from doors import ROOT
from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler
from torch.optim import lr_scheduler

from lineage.recipes.optim.schedules import Plateau, learning_rate, rate_scale, whiten_bias_rate
from lineage.recipes.recipe import Recipe

NAMES = sorted(file.stem for file in (ROOT / "conf" / "recipe").glob("*.yaml"))
STEPS = 7  # of an epoch, where the number does not matter


def optimizer_of(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def timm_rates(recipe: Recipe, make: Callable, steps: int = 1) -> list[float]:
    """The rates of one of timm's schedulers, `steps` for each epoch."""
    optimizer, rates = optimizer_of(recipe.lr), []
    scheduler = make(optimizer)
    for tick in range(recipe.epochs * steps):
        scheduler.step(tick)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def torch_rates(recipe: Recipe, make: Callable) -> list[float]:
    """The rates of one of torch's schedulers, one for each epoch."""
    optimizer, rates = optimizer_of(recipe.lr), []
    scheduler = make(optimizer)
    for _ in range(recipe.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


# ---- the schedules of the sources: recipe -> the rate of each epoch, or of each step, STEPS for an epoch


def steps_of(period: float, rate: float):
    return lambda recipe: torch_rates(recipe, lambda o: lr_scheduler.StepLR(o, period, rate))


def milestones(at: list[int], rate: float):
    return lambda recipe: torch_rates(recipe, lambda o: lr_scheduler.MultiStepLR(o, at, rate))


def timm_cosine(recipe: Recipe) -> list[float]:
    options = {"lr_min": recipe.min_lr, "warmup_t": 5, "warmup_lr_init": recipe.warmup_lr}
    return timm_rates(recipe, lambda o: CosineLRScheduler(o, recipe.epochs, **options))


def torchvision(recipe: Recipe) -> list[float]:
    """references/classification/train.py, --lr-scheduler cosineannealinglr --lr-warmup-method linear."""

    def make(o: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        warmup = lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=5)
        cosine = lr_scheduler.CosineAnnealingLR(o, T_max=600 - 5, eta_min=0.0)
        return lr_scheduler.SequentialLR(o, [warmup, cosine], milestones=[5])

    return torch_rates(recipe, make)


def pycls(recipe: Recipe) -> list[float]:
    """core/optimizer.py: BASE_LR x MIN_LR^(t / MAX_EPOCH) x the factor of warm-up."""
    ramp = [0.1 * (1 - min(t / 5, 1)) + min(t / 5, 1) for t in range(400)]
    return [2.0 * 0.02 ** (t / 400) * factor for t, factor in enumerate(ramp)]


def efficientnet(recipe: Recipe) -> list[float]:
    """utils.py of the authors: floor(global_step / (2.4 epochs)) decays, warm-up from 0 in int(5 epochs) steps."""
    peak = 0.016 * 2048 / 256
    return [peak * (t / (5 * STEPS) if t < 5 * STEPS else 0.97 ** (t * 10 // (24 * STEPS))) for t in range(350 * STEPS)]


def airbench(recipe: Recipe) -> list[float]:
    """legacy/airbench94.py, `triangle`: 0.2 to 1 at int(0.23 of the steps), then to 0.07."""
    total = recipe.epochs * STEPS
    peak = int(0.23 * total)
    peak_rate = 11.5 / (1024 * (1 + 1 / (1 - 0.85)))
    rise = [0.2 + 0.8 * t / peak for t in range(peak)]
    return [peak_rate * x for x in rise + [1 - 0.93 * (t - peak) / (total - peak) for t in range(peak, total)]]


def nasnet(epochs: int) -> Callable[[Recipe], list[float]]:
    return lambda recipe: timm_rates(recipe, lambda o: CosineLRScheduler(o, epochs * STEPS), STEPS)


SOURCES: dict[str, Callable[[Recipe], list[float]]] = {
    **dict.fromkeys(("resnet", "pytorch", "fixres", "fixres_finetune", "senet"), steps_of(30, 0.1)),
    **dict.fromkeys(("deit", "rsb_a1", "rsb_a2", "rsb_a3"), timm_cosine),
    **dict.fromkeys(("inception", "mobilenet", "xception"), steps_of(2, 0.94)),
    **dict.fromkeys(("densenet_cifar", "resnext_cifar"), milestones([150, 225], 0.1)),
    **dict.fromkeys(("alexnet", "vgg"), lambda recipe: [0.01] * recipe.epochs),  # the plateau never comes
    "fams": pycls,
    "googlenet": steps_of(8, 0.96),
    "efficientnet": efficientnet,
    "lenet_1998": lambda recipe: [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8,
    "resnet_cifar": milestones([82, 123], 0.1),
    "wrn": milestones([60, 120, 160], 0.2),
    "wrn_svhn": milestones([80, 120], 0.1),
    "nasnet_cifar": nasnet(600),
    "nasnet_child": nasnet(20),
    "torchvision_v2": torchvision,
    # airbench94_muon.py: from 0.24 to 0 over all steps.
    "speedrun": lambda recipe: [0.24 * (1 - t / (recipe.epochs * STEPS)) for t in range(recipe.epochs * STEPS)],
    "speedrun_2024": airbench,
    "sgd_step": steps_of(12, 0.1),
    "finetune": lambda recipe: timm_rates(recipe, lambda o: CosineLRScheduler(o, 25)),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_the_rates_of_its_source(name):
    assert name in SOURCES, f"write the schedule of recipe={name}'s source here"
    recipe = recipe_of(name)
    expected = SOURCES[name](recipe)
    assert len(expected) == recipe.epochs * (STEPS if recipe.schedule_interval == "step" else 1)
    ticks = len(expected) // recipe.epochs
    scale = 1 if name == "efficientnet" else rate_scale(recipe)
    found = [learning_rate(recipe, step, STEPS) for step in range(recipe.epochs * STEPS)]
    by_step = [scale * expected[step * ticks // STEPS] for step in range(recipe.epochs * STEPS)]
    # Where a cosine ends at 0, rounding errors are relative to its peak.
    assert found == pytest.approx(by_step, rel=1e-12, abs=1e-15 * recipe.lr)


def plain(**changes) -> Recipe:
    return recipe_of("sgd_step", **{"lr": 1.0, "epochs": 100, **changes})


def test_with_a_fractional_period_the_rate_falls_at_the_exact_step():
    recipe = plain(schedule="step", schedule_interval="step", decay_rate=0.5)
    for period, steps in product((2.4, 0.1, 0.3, 0.7, 1.1, 3.3), (1, 5, 7, 391, 625, 1251)):
        recipe.decay_epochs, in_steps = [period], Fraction(str(period)) * steps
        for k in range(1, int(100 / period), 11):
            falls = math.ceil(k * in_steps)
            before, at = (round(-math.log2(learning_rate(recipe, step, steps))) for step in (falls - 1, falls))
            assert before == (falls - 1) // in_steps < k <= at == falls // in_steps, (period, steps, k)


def test_fractional_milestones_equal_timms_and_are_exact_in_steps():
    """timm's MultiStepLRScheduler decays an epoch earlier than the papers: it counts decay_t <= t + 1."""
    recipe = plain(schedule="multistep", decay_rate=0.1, decay_epochs=[2.4, 30.0])
    rates = timm_rates(recipe, lambda o: MultiStepLRScheduler(o, [3.4, 31], 0.1))
    assert [learning_rate(recipe, epoch, 1) for epoch in range(100)] == pytest.approx(rates, rel=1e-12)
    recipe.schedule_interval = "step"
    falls = [step for step in range(1, 5000) if learning_rate(recipe, step, 125) < learning_rate(recipe, step - 1, 125)]
    assert falls == [300, 3750]


def test_linear_during_and_after_warm_up():
    inside = plain(schedule="linear", schedule_interval="step", decay_rate=0, decay_epochs=[], warmup_epochs=10.0)
    rates = [learning_rate(inside, step, 10) for step in (0, 50, 99, 100, 550, 999)]
    assert rates == pytest.approx([0, 0.5, 0.99, 0.9, 0.45, 0.001])
    inside.after_warmup = True
    rates = [learning_rate(inside, step, 10) for step in (0, 50, 99, 100, 550, 999)]
    assert rates == pytest.approx([0, 0.5, 0.99, 1, 0.5, 1 / 900])


def test_a_warm_up_factor_multiplies_the_schedules_rate():
    recipe = plain(schedule="linear", decay_rate=0, decay_epochs=[], warmup_epochs=5.0, warmup_factor=0.1)
    assert learning_rate(recipe, 2, 1) == pytest.approx((1 - 2 / 100) * (0.1 * 3 / 5 + 2 / 5), rel=1e-12)
    recipe.after_warmup = True  # during warm-up the schedule has its first rate
    assert learning_rate(recipe, 2, 1) == pytest.approx(0.1 * 3 / 5 + 2 / 5, rel=1e-12)


@pytest.mark.parametrize(("name", "middle"), [("speedrun", 0.24 * (1 - 36 / 75)), ("speedrun_2024", 7.0)])
def test_the_bias_of_a_whitening_layer_rests_after_its_epochs(name, middle):
    rates = [whiten_bias_rate(recipe_of(name), step, 25, rate=7.0) for step in range(100)]
    assert rates[36] == pytest.approx(middle, rel=1e-12) and all(rates[:75]) and not any(rates[75:])


def test_warm_up_in_steps_takes_whole_steps():
    """As in airbench, int(0.23 x 480 steps) = 110, and in TensorFlow, int(epochs x steps)."""
    recipe = plain(schedule="linear", schedule_interval="step", decay_rate=0, decay_epochs=[], epochs=10)
    recipe.warmup_epochs, recipe.after_warmup = 2.3, True
    rates = [learning_rate(recipe, step, 48) for step in range(480)]
    assert max(rates) == rates[110] == 1.0 and rates[55] == 0.5


def test_cool_down_keeps_the_last_rate():
    """As in timm."""
    cosine = recipe_of("rsb_a2", cooldown_epochs=10)
    assert {learning_rate(cosine, epoch * 3 + 2, 3) for epoch in range(300, 310)} == {1e-6}
    steps = recipe_of("resnet", cooldown_epochs=10)
    assert [learning_rate(steps, epoch, 1) for epoch in range(90, 100)] == pytest.approx([1e-4] * 10)
    assert steps.total_epochs == 100


def test_the_epochs_of_swa_have_swa_lr():
    recipe = recipe_of("wrn", swa=40, swa_lr=0.05)
    rates = [learning_rate(recipe, step, 3) for step in (479, 480, 599)]
    assert rates == [pytest.approx(0.1 * 0.2**2), 0.05, 0.05]


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4), ("sqrt", 2)])
def test_scaling_acts_on_the_whole_curve(rule, factor):
    for name, steps in (("rsb_a2", range(300)), ("lenet_1998", range(20))):
        recipe = recipe_of(name)
        before = [learning_rate(recipe, step, 1) for step in steps]
        recipe.lr_scaling, recipe.lr_batch, recipe.batch_size = rule, recipe.batch_size, recipe.batch_size * 4
        assert [learning_rate(recipe, step, 1) for step in steps] == [rate * factor for rate in before]


def test_a_plateau_equals_torchs_and_ends_after_its_decays():
    recipe = recipe_of("alexnet", patience=5, max_decays=3)
    ours, found = Plateau(recipe), []
    optimizer = optimizer_of(recipe.lr)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.1, patience=4, threshold=0)
    drawn = torch.rand(200, generator=torch.Generator().manual_seed(0))
    for accuracy in (0.5 + 0.1 * drawn).round(decimals=2).tolist():
        state, ours = ours.state_dict(), Plateau(recipe)  # resumed after every epoch
        ours.load_state_dict(state)
        ours.after_epoch(accuracy)
        theirs.step(accuracy)
        if ours.ended:
            break
        found.append(learning_rate(recipe, len(found), 1, ours.decays))
        assert found[-1] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert ours.ended and ours.decays == 4 and len(set(found)) == 4
    assert learning_rate(recipe, 0, 1, decays=4) == found[-1]
