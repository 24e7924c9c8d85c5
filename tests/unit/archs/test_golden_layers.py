"""tests/golden/layers.csv: initial weights, normalisation, dropout, drop path, order of layers, by their sources."""

import csv
import math
from fnmatch import fnmatchcase

import pytest
import torch
from networks import GOLDEN, build, channels_of
from torch import Tensor, nn

from lineage.archs import airbench, lenet, operations
from lineage.archs.blocks import DropPath, round_channels
from lineage.archs.cells import ScheduledDropPath
from lineage.archs.scaling import scale_depths

FACTS: dict[str, list[dict[str, str]]] = {}
with open(GOLDEN / "layers.csv", newline="") as file:
    for row in csv.DictReader(file):
        FACTS.setdefault(row["config"], []).append(row)


def number(arithmetic: str) -> float:
    return eval(arithmetic, {"sqrt": math.sqrt})


def check_weights(weights: Tensor, distribution: str, deviation: float) -> None:
    """Deviation within four of its standard errors, and no value where the distribution has none."""
    weights, count = weights.detach(), weights.numel()
    if distribution == "constant":
        assert (weights == deviation).all()
        return
    cut = 0.87962566 if distribution == "truncated" else 1.0  # what a cut at two deviations leaves
    largest, error = float(weights.abs().max()), 4 / math.sqrt(2 * count)
    if count >= 100:
        assert weights.std().item() == pytest.approx(cut * deviation, rel=error)
        assert weights.mean().item() == pytest.approx(0, abs=4 * deviation / math.sqrt(count))
    most = {"uniform": math.sqrt(3), "truncated": 2.0}.get(distribution, 6.0) * deviation
    assert largest <= most * 1.0001
    assert distribution != "normal" or largest > 2.2 * deviation


def order(network: nn.Module, part: nn.Module, channels: int) -> list[str]:
    """The classes of the layers in a part of a network, in the order in which they run."""
    ran: list[str] = []
    leaves = [module for module in part.modules() if not [*module.children()]]
    hooks = [leaf.register_forward_hook(lambda module, *_: ran.append(type(module).__name__)) for leaf in leaves]
    network.train()(torch.zeros(2, channels, network.min_size, network.min_size))
    for hook in hooks:
        hook.remove()
    return ran


def rates(network: nn.Module) -> list[float]:
    drops = [module for module in network.modules() if isinstance(module, DropPath)]
    return [1 - float(drop.keep) if isinstance(drop, ScheduledDropPath) else drop.rate for drop in drops]


@pytest.mark.parametrize("config", FACTS)
def test_facts(config):
    network = build(config)
    for fact in FACTS[config]:
        attribute, value = fact["attribute"], fact["value"]
        if attribute.startswith("rates"):
            network.set_progress(float(attribute.partition(" at ")[2] or 1))
            assert rates(network) == pytest.approx([float(rate) for rate in value.split()], abs=1e-6), fact
            continue
        parts = [module for name, module in network.named_modules() if fnmatchcase(name, fact["layers"])]
        parts = [part for part in parts if attribute == "order" or getattr(part, attribute, None) is not None]
        assert parts, fact
        for part in parts:
            if attribute == "order":
                assert order(network, part, channels_of(config)) == value.split()
            elif isinstance(found := getattr(part, attribute), Tensor):
                distribution, _, deviation = value.partition(" ")
                check_weights(found, distribution, number(deviation))
            else:
                assert found == pytest.approx(number(value)), fact


# Table I of LeCun et al. 1998: the maps of C3 that read each map of S2.
READERS = [
    [0, 4, 5, 6, 9, 10, 11, 12, 14, 15], [0, 1, 5, 6, 7, 10, 11, 12, 13, 15], [0, 1, 2, 6, 7, 8, 11, 13, 14, 15],
    [1, 2, 3, 6, 7, 8, 9, 12, 14, 15], [2, 3, 4, 7, 8, 9, 10, 12, 13, 15], [3, 4, 5, 8, 9, 10, 11, 13, 14, 15],
]  # fmt: skip


def test_layers_of_lenet():
    """By hand: squashing, subsampling, the links of Table I, and the distances from the codes of the digits."""
    assert lenet.ScaledTanh()(torch.tensor(1.5)).item() == pytest.approx(1.7159 * math.tanh(1.0))
    subsample, c3, output = lenet.Subsample(1), lenet.PartialConv(), lenet.RadialBasis(12)
    with torch.no_grad():
        subsample.coefficient.fill_(0.5), subsample.bias.fill_(0.25)
        assert subsample(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item() == 6.25  # 12 / 2 + 1 / 4
        c3.weight.fill_(1.0)
        maps = c3(torch.eye(6)[:, :, None, None].expand(-1, -1, 5, 5)).flatten(1)  # a row for each map of S2
    assert [row.nonzero().flatten().tolist() for row in maps] == READERS and set(maps.unique().tolist()) == {0.0, 25.0}
    assert output(torch.zeros(1, 84)).tolist() == [[-84.0] * 12]
    assert output(output.codes).argmax(1).tolist() == [*range(12)] and output(-output.codes[:1])[0, 0] == -4 * 84


# Of each operation: the pixels that one pixel reaches, and how far apart the outermost are.
REACH = {
    "identity": (1, 1), "conv1x3": (9, 3), "conv1x7": (49, 7), "dil3": (9, 5), "avg3": (9, 3), "max3": (9, 3),
    "max5": (25, 5), "max7": (49, 7), "conv1": (1, 1), "conv3": (9, 3), "sep3": (25, 5), "sep5": (81, 9),
    "sep7": (169, 13),
}  # fmt: skip


@pytest.mark.parametrize("name", REACH)
@pytest.mark.parametrize("norm", ["batch", "layer", "instance"])
def test_operations_of_cells(name, norm):
    """(B, in, H, W) -> (B, out, ceil(H/stride), ceil(W/stride)), with gradients; separable ones are applied twice."""
    for stride in (1, 2):
        images = torch.randn(2, 6, 9, 12, requires_grad=True)
        operation = operations.OPERATIONS[name](6, 8, stride, operations.normalisation(norm, 1e-3, 0.1))
        out = operation(images)
        assert out.shape == (2, 8, -(-9 // stride), -(-12 // stride))
        out.square().sum().backward()
        assert all(p.grad.isfinite().all() for p in [images, *operation.parameters()])
    image = torch.zeros(1, 6, 21, 21)
    image[:, :, 10, 10] = 1.0
    operation = operations.OPERATIONS[name](6, 8, 1, lambda channels: nn.Identity())
    for parameter in operation.parameters():
        nn.init.ones_(parameter)
    reached = operation(image)[0, 0].nonzero()
    assert (len(reached), int(reached.max() - reached.min()) + 1) == REACH[name]


@pytest.mark.parametrize("drop", [DropPath(0.2), ScheduledDropPath(0.2)])
def test_drop_path(drop):
    """Whole samples go, the mean stays; nothing happens in evaluation."""
    torch.manual_seed(0)
    ones = torch.ones(4000, 2, 2, 2)
    out = drop.train()(ones)
    assert set(out.unique().tolist()) == {0.0, 1.25}
    assert torch.equal(out.amax((1, 2, 3)), out.amin((1, 2, 3)))
    assert out.mean() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(ones), ones)


def test_rounding_of_channels_and_layers():
    """make_divisible and round_filters of the releases: MobileNet v2 at other widths, layers of B1 and B3."""
    given = [32 * 0.35, 24 * 0.35, 16 * 0.35, 96 * 0.35, 24 * 0.5, 24 * 0.75, 32 * 1.4, 80 * 1.1, 96 * 1.4]
    assert [round_channels(channels) for channels in given] == [16, 8, 8, 32, 16, 24, 48, 88, 136]
    assert scale_depths([10, 4, 3, 1], 1.1) == [11, 5, 4, 2] and scale_depths([25], 2.2) == [55]
    networks = [build(f"mobilenet_v2 arch.width_mult={width}", device="meta") for width in (0.5, 1.4)]
    assert [network.last.conv.out_channels for network in networks] == [1280, 1792]


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ("googlenet", ["stages.1.4a", "stages.1.4d"]),  # Szegedy et al. 2014, section 5
        ("inception_v3", ["stages.1.4"]),  # the last 17x17 module
        ("nasnet_a_cifar arch.repeats=1 arch.filters=8", ["stages.1.1"]),  # TF-slim: before the last reduction
    ],
)
def test_what_auxiliary_heads_read(config, read):
    """The last module that the gradient of their logits reaches."""
    network = build(f"{config} arch.aux_heads=true", num_classes=3)
    _, auxiliary = network.train()(torch.rand(2, channels_of(config), network.min_size, network.min_size))
    assert len(auxiliary) == len(read)
    for logits, expected in zip(auxiliary, read, strict=True):
        network.zero_grad(set_to_none=True)
        logits.sum().backward(retain_graph=True)
        reached = [name for name, p in network.named_parameters() if name.startswith("stages") and p.grad is not None]
        assert ".".join(reached[-1].split(".")[:3]) == expected


@pytest.mark.parametrize("share", [True, False])
def test_first_unit_of_a_preactivation_network(share):
    """He et al. 2016, appendix: the first sum adds activated maps; timm adds them as they are."""
    words = f"arch.depth=14 arch.share_first={str(share).lower()} arch.zero_init_last=true"
    first, second = build(f"preact_resnet_cifar {words}").eval().stages[0]
    x = torch.randn(1, 16, 4, 4)
    assert torch.allclose(first(x), x.relu() if share else x, atol=1e-4) and torch.equal(second(x), x)


def test_whitening_makes_patches_uncorrelated():
    """airbench: of the first filters' outputs over all 2x2 patches the second moments are the identity."""
    mixed = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)).cumsum(1).cumsum(3)
    convolution = airbench.WhiteningConv(3)
    convolution.start_from(mixed, eps=0.0)
    out = (convolution(mixed) - convolution.bias[:, None, None]).transpose(0, 1).flatten(1)  # (24, all patches)
    moments = out @ out.T / out.shape[1]
    assert torch.allclose(moments[:12, :12], torch.eye(12), atol=1e-3) and torch.allclose(
        out[:12], -out[12:], atol=1e-3
    )
    norms = convolution.weight[:12].flatten(1).norm(dim=1)
    assert (norms.diff() >= 0).all()  # the largest variance, so the smallest filter, comes first


@pytest.mark.parametrize(
    ("config", "block"),
    [
        ("resnet_cifar arch.depth=14", "stages.1.1"), ("preact_resnet_cifar arch.depth=14", "stages.1.1"),
        ("wideresnet arch.depth=16 arch.widen_factor=1", "stages.1.1"), ("mobilenet_v2", "stages.1.1"),
        ("efficientnet_b0", "stages.1.1"), ("xception", "stages.1.0"), ("inception_resnet_v1", "stages.0.1"),
    ],
)  # fmt: skip
def test_dropped_blocks(config, block):
    """A block whose branch is dropped hands on its input."""
    block = build(f"{config} recipe.drop_path=0.5").get_submodule(block)
    block.drop_path.rate = 1 - 1e-7
    channels = next(module.in_channels for module in block.modules() if isinstance(module, nn.Conv2d))
    x = torch.rand(2, channels, 8, 8)
    assert torch.equal(block.train()(x), x)
