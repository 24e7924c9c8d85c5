"""Which parameters decay, and the steps of every optimiser against timm's or torch's, built by hand."""

import copy
import types
from typing import get_args

import pytest
import timm.optim
import torch
from conftest import recipe_of
from networks import build, configs, family
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from lineage.recipes.optim.averaging import Lookahead
from lineage.recipes.optim.optimizers import build_optimizer, parameter_groups, prepare_finetuning
from lineage.recipes.recipe import Optimizer, RecipeError

# No value is a default of timm's or torch's.
ADAM = {"lamb_clip": 0.0, "momentum": 0.8, "beta2": 0.95, "eps": 1e-3}
BETAS = {"betas": (0.8, 0.95), "eps": 1e-3}
OFF = {"beta2": 0.0, "eps": 0.0, "lamb_clip": 0.0, "momentum": 0.7}
OF_MUON = {"nesterov": True, "muon_iterations": 3, "sgd_momentum": 0.8, "head_lr": 0.04, "bias_lr": 0.02}
TRUST = {"lars_trust": 0.02, "eps": 1e-3}

# By name: keys of the recipe, and the same optimiser built from timm's or torch's documentation.
BY_HAND = {
    "sgd": (
        {**OFF, "nesterov": True},
        lambda groups: torch.optim.SGD(groups, 0.01, momentum=0.7, nesterov=True, fused=True),
    ),
    "lamb": ({**ADAM, "lamb_clip": 0.7}, lambda groups: timm.optim.Lamb(groups, 0.01, max_grad_norm=0.7, **BETAS)),
    "adamw": (ADAM, lambda groups: torch.optim.AdamW(groups, 0.01, **BETAS)),
    "adam": (ADAM, lambda groups: torch.optim.Adam(groups, 0.01, **BETAS)),
    "nadamw": (ADAM, lambda groups: timm.optim.NAdamW(groups, 0.01, **BETAS)),
    "rmsproptf": (ADAM, lambda groups: timm.optim.RMSpropTF(groups, 0.01, alpha=0.95, eps=1e-3, momentum=0.8)),
    "lars": ({**OFF, **TRUST}, lambda groups: timm.optim.Lars(groups, 0.01, momentum=0.7, trust_coeff=0.02, eps=1e-3)),
    "muon": ({**OFF, **OF_MUON}, lambda groups: muon_by_hand(groups)),
    "lion": ({**OFF, "beta2": 0.95}, lambda groups: timm.optim.Lion(groups, 0.01, betas=(0.7, 0.95))),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(32, 5)
    )


def decayed_by_hand(network: nn.Module) -> list[dict]:
    weights = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]


def muon_by_hand(groups: list[dict]) -> types.SimpleNamespace:
    """timm's Muon on normalised filters, and torch's SGD for the rest."""
    filters, matrices = ([p for p in groups[0]["params"] if (p.ndim > 2) == large] for large in (True, False))
    options = {"ns_coefficients": "original", "adjust_lr_fn": None, "ns_steps": 3, "nesterov": True, "momentum": 0.7}
    muon = timm.optim.Muon([{"params": filters, "use_muon": True}], 0.01, weight_decay=0.0, **options)
    others = [
        {"params": matrices, "lr": 0.04, "weight_decay": 0.02 / 4},
        {"params": groups[1]["params"], "lr": 0.02, "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(others, momentum=0.8, nesterov=True)

    def step() -> None:
        for p in filters:
            p.data *= len(p) ** 0.5 / p.norm()
        muon.step()
        sgd.step()

    return types.SimpleNamespace(step=step)


def draw_gradients(networks: list[nn.Module], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameters in zip(*(network.parameters() for network in networks), strict=True):
        gradient = torch.randn(parameters[0].shape, generator=generator)
        for parameter in parameters:
            parameter.grad = gradient.to(parameter).clone()


@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("name", get_args(Optimizer.__metadata__[0]))
def test_steps_equal_those_of_the_optimizer_built_by_hand(name, steps):
    changes, make = BY_HAND[name]
    recipe = recipe_of("rsb_a2", optimizer=name, lr=0.01, **changes)
    recipe.warmup_lr = 0.001
    recipe.check()
    ours = network()
    theirs = copy.deepcopy(ours)
    mine, other = build_optimizer(recipe, ours), make(decayed_by_hand(theirs))
    for group in mine.param_groups:
        group["lr"] *= group["lr_scale"]
    for step in range(steps):
        draw_gradients([ours, theirs], step)
        mine.step()
        other.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        if name in ("lamb", "muon"):  # which round differently, muon's matrices in bf16
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7 if name == "lamb" else 1e-3)
        else:
            assert torch.equal(a, b)


@pytest.mark.parametrize(("clip", "tolerance"), [(0.0, 1e-13), (1.0, 1e-7), (1e6, 1e-13)])
def test_lamb_equals_timms_in_double_precision(clip, tolerance):
    """With clipping (whose factor is float32) and without; one weight and one gradient are 0, one gradient is None."""
    ours = network().double()
    nn.init.zeros_(ours[0].weight)
    theirs = copy.deepcopy(ours)
    mine = build_optimizer(recipe_of("rsb_a2", **{**ADAM, "lamb_clip": clip}), ours)
    other = timm.optim.Lamb(decayed_by_hand(theirs), 5e-3, max_grad_norm=clip or None, **BETAS)
    for step in range(10):
        draw_gradients([ours, theirs], step)
        for model in (ours, theirs):
            model[3].weight.grad.zero_()
            model[5].weight.grad = None
        mine.step()
        other.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance / 100)
    mine.load_state_dict(other.state_dict())  # on another device, timm's own steps may follow


# ---- groups


def names_of(groups: list[dict], network: nn.Module, **facts: float) -> set[str]:
    """The names of the parameters in the groups with these values."""
    known = {id(parameter): name for name, parameter in network.named_parameters()}
    found = [group for group in groups if all(group[key] == value for key, value in facts.items())]
    return {known[id(parameter)] for group in found for parameter in group["params"]}


def groups_of(network: nn.Module, **changes) -> list[dict]:
    return parameter_groups(network, recipe_of("rsb_a2", weight_decay=0.5, **changes))


def one_of_each_family() -> list[str]:
    return [*{family(config): config for config in configs() if family(config) != "timm"}.values()]


@pytest.mark.parametrize("config", [*one_of_each_family(), "lenet5 arch.variant=1998"])
def test_what_decays_in_every_family(config):
    network = build(config, device="meta")
    free = {"weight_decay": 0.0}
    theirs = names_of(param_groups_weight_decay(network, 0.5), network, **free)
    assert names_of(groups_of(network, decay_norm=False, decay_bias=False), network, **free) == theirs
    every = groups_of(network, decay_norm=True, decay_bias=True)
    assert len(every) == 1 and len(every[0]["params"]) == sum(p.requires_grad for p in network.parameters())

    norms = names_of(groups_of(network, decay_norm=False, decay_bias=True), network, **free)
    biases = names_of(groups_of(network, decay_norm=True, decay_bias=False), network, **free)
    assert norms | biases == theirs and not norms & biases
    modules = dict(network.named_modules())
    norm_parameters = {name for name in theirs if "Norm" in type(modules[name.rpartition(".")[0]]).__name__}
    assert norm_parameters <= norms and not any(name.endswith("bias") for name in norms - norm_parameters)
    assert all(name.endswith("bias") for name in biases)

    depthwise = names_of(groups_of(network, no_decay_depthwise=True), network, **free) - theirs
    convolutions = {name: m for name, m in modules.items() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert depthwise == {f"{name}.weight" for name, m in convolutions.items() if m.weight.shape[1] == 1}


def test_biases_of_normalisation_have_airbenchs_rate_and_decay_and_what_is_frozen_has_none():
    network = build("resnet18", device="meta")
    network.stem.requires_grad_(False)
    recipe, trained = recipe_of("speedrun_2024"), {n for n, _ in network.named_parameters() if not n.startswith("stem")}
    groups = parameter_groups(network, recipe)
    biases = names_of(groups, network, lr_scale=64, weight_decay=recipe.weight_decay / 64)
    assert biases == {name for name in trained if name.endswith("norm.bias")}
    assert names_of(groups, network, lr_scale=1.0, weight_decay=recipe.weight_decay) == trained - biases
    assert names_of(groups, network) == trained


def test_the_rates_of_layers_equal_timms():
    network = build("timm arch.model_name=resnet18", device="meta")
    groups = parameter_groups(network, recipe_of("rsb_a2", layer_decay=0.65))
    theirs = param_groups_layer_decay(network, 0.02, layer_decay=0.65)
    for group in theirs:
        facts = {"lr_scale": group["lr_scale"], "weight_decay": group["weight_decay"]}
        assert names_of([group], network) == names_of(groups, network, **facts)


def test_the_rates_of_layers_grow_to_one_at_the_head():
    network = build("resnet18", device="meta")
    groups = parameter_groups(network, recipe_of("rsb_a2", layer_decay=0.5))
    assert names_of(groups, network, lr_scale=1.0) == {"head.linear.weight", "head.linear.bias"}
    stem = {name for name, _ in network.named_parameters() if name.startswith("stem.")}
    assert names_of(groups, network, lr_scale=0.5**9) == stem  # with eight blocks between
    with pytest.raises(RecipeError, match="does not state its layers' depth"):
        parameter_groups(nn.Sequential(nn.Linear(2, 2)), recipe_of("rsb_a2", layer_decay=0.5))


# ---- lookahead and fine-tuning


def test_lookahead_equals_airbenchs():
    """`LookaheadState` of airbench94: decay 0.95^5 (t / T)^3 every five steps, 1 after the last."""
    fast = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    recipe, total = recipe_of("speedrun_2024"), 13
    ours, network = Lookahead(recipe, fast), copy.deepcopy(fast)
    slow = {name: tensor.clone() for name, tensor in fast.state_dict().items()}

    def update(decay: float) -> None:
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                slow[name].lerp_(tensor, 1 - decay)
                tensor.copy_(slow[name])

    for done in range(1, total + 1):
        for tensor in (*fast.state_dict().values(), *network.state_dict().values()):
            tensor.add_(done)
        state, ours = ours.state_dict(), Lookahead(recipe, fast)  # resumed before every step
        ours.load_state_dict(copy.deepcopy(state))
        ours.after_step(fast, done - 1, total)
        if done % 5 == 0:
            update(0.95**5 * (done / total) ** 3)
        if done == total:
            update(1.0)
        for a, b in zip(fast.state_dict().values(), network.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("config", "statistics"),
    [
        ("resnet50", ["stages.3.2.conv3.norm"]),
        ("inception_v3 arch.aux_heads=true", ["stages.2.2.branches.3.1.norm"]),
        ("vgg11", []),
        ("timm arch.model_name=resnet18", ["layer4.1.bn2"]),
    ],
)
def test_fine_tuning_trains_the_classifier_alone(config, statistics):
    network = build(config, device="meta")
    prepare_finetuning(network)
    head = {"timm": "fc", "vgg11": "head.8"}.get(config.split()[0], "head.linear")
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {f"{head}.weight", f"{head}.bias"}
    assert sorted(name for name, module in network.named_modules() if module.training) == sorted([*statistics, head])


def test_a_classifier_without_parameters_cannot_be_fine_tuned():
    with pytest.raises(RecipeError, match="no parameters to train"):
        prepare_finetuning(build("lenet5 arch.variant=1998", device="meta"))
