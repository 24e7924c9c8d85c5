"""What a network is held to, a function a claim: test_archs.py calls them on some, and in `make proofs` on all."""

import torch
from networks import build, channels_of, dataset_of, in_channels
from oracles import CLASSES, Case, build_oracle
from porting import difference, disagreement, outputs, port, randomise, still
from torch import Tensor, nn
from torch.nn import functional as F

from lineage.archs.blocks import SqueezeExcite
from lineage.archs.network import Network

# max|a - b| / max|b| in double precision; what correct networks of hundreds of layers leave is 1e-14 and 1e-11.
TOLERANCE = {"eval": 1e-12, "gradient": 1e-11, "train": 1e-9, "statistics": 1e-9}


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


def smallest(network: nn.Module, batch: int, channels: int) -> Tensor:
    """Noise of the smallest size that the network takes.

    Its last maps keep two pixels a side, or one in the last stage only, where gradients need them: of one pixel and two
    images batch normalisation makes +-1, and through a hundred layers of that they overflow (ResNet-1202); of a strided
    3x3 on one pixel PyTorch leaves parts of the bf16 weight gradient unset on CPUs (2.11 and 2.14; SENet's pooling).
    """
    return noise(batch, channels, network.min_size, network.min_size)


def loss(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy, that of auxiliary logits weighed as the network says."""
    logits, *auxiliary = outputs(network(images))
    weights = getattr(network, "aux_weights", ()) if network.training else ()
    assert logits.ndim == 2
    assert len(auxiliary) == len(weights)
    total = F.cross_entropy(logits, targets)
    for weight, aux in zip(weights, auxiliary, strict=True):
        assert aux.shape == logits.shape
        total = total + weight * F.cross_entropy(aux, targets)
    return total


def check_contract(config: str) -> None:
    """What archs/network.py promises, at min_size with two images of one channel; what is trained has a gradient."""
    network = build(config, num_classes=7, channels=1)
    images = smallest(network, 2, 1)
    network.reset_classifier(5)
    assert isinstance(network.notes, list)
    loss(network, images, torch.tensor([0, 4])).backward()
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:  # airbench's whitening
            continue
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.sum().isfinite(), f"the gradient of {name} is not finite"  # isfinite() on all is slow

    layers = network.parameter_layers()
    assert sorted(name for layer in layers for name in layer) == sorted(name for name, _ in network.named_parameters())
    network.reset_classifier(0)
    network.eval()
    if isinstance(network, Network):
        check_parts(config, network, images, layers)
    else:
        assert network(images).shape == (2, network.num_features)


def check_parts(config: str, network: Network, images: Tensor, layers: list[list[str]]) -> None:
    """The parts in order, their maps as `stage_info` has them, and no classifier."""
    network.set_progress(1.0)
    parts = [name for name, _ in network.named_children() if name in ("stem", "stages", "last", "head")]
    assert parts == ["stem", "stages", "last", "head"]
    classifiers = {f"{name}.weight" for name in network.classifiers}
    assert layers[0][0].startswith("stem.")
    assert not classifiers & {name for layer in layers[:-1] for name in layer}
    depths = [name.split(".")[:2] for layer in layers for name in layer if name.startswith("stages.")]
    assert depths == sorted(depths, key=lambda part: int(part[1]))
    with torch.no_grad():
        maps = network.forward_intermediates(images)
        assert [tuple(x.shape[:2]) for x in maps] == [(2, info.channels) for info in network.stage_info]
        assert network.head(network.last(maps[-1])).shape == (2, network.num_features)
    featureless = build(config, num_classes=0, channels=1, device="meta")
    assert featureless.state_dict().keys() == network.state_dict().keys()


def check_recomputation(config: str) -> None:
    """The same loss, gradients and statistics, bit for bit, with dropout and stochastic depth, and less is kept."""
    networks = [build(f"{config} recipe.drop_path=0.3 recipe.dropout=0.3") for _ in range(2)]
    networks[1].checkpoint_gradients()
    images = smallest(networks[0], 4, channels_of(config))
    found = []
    for network in networks:
        kept: list[int] = []
        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x):
            value = loss(network, images, torch.arange(4) % 4)
        value.backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.requires_grad}
        found.append((value, gradients, dict(network.named_buffers()), sum(kept)))
    (value, *tensors, before), (again, *others, after) = found
    assert torch.equal(value, again) and after < before
    for ours, theirs in zip(tensors, others, strict=True):
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def check_intermediates(case: Case) -> None:
    """Of timm's maps, all that have the channels and the stride of one of ours are ours; the last one always is."""
    torch.manual_seed(0)
    oracle = build_oracle(case).double()
    ours = build(case.config, num_classes=CLASSES, initialise=False).double().eval()
    images = noise(2, 3, case.image, case.image, dtype=torch.float64)
    with torch.no_grad():
        randomise(oracle, images)
        port(ours, oracle, images.shape, order=case.order)
        maps = dict(zip(ours.stage_info, ours.forward_intermediates(images), strict=True))  # of one shape, the later
        theirs = oracle.eval().forward_intermediates(images, intermediates_only=True)
        last = ours.forward_features(images)
    described = [(info["num_chs"], info["reduction"]) for info in oracle.feature_info]
    compared = {shape: x for shape, x in zip(described, theirs, strict=True) if shape in maps}
    assert described[-1] in compared
    for shape, x in compared.items():
        # Timm's xception hands on rectified maps, and its densenet the last map after its normalisation.
        candidates = [maps[shape], maps[shape].relu(), *([last] if shape == described[-1] else [])]
        assert min(difference(candidate, x) for candidate in candidates) < TOLERANCE["eval"], shape


def check_logits(case: Case, batch: int = 4, image: int | None = None) -> None:
    """Equal to the oracle with its weights: logits, gradient, training logits, statistics."""
    side = image or case.image
    torch.manual_seed(0)
    oracle = build_oracle(case).double()
    ours = build(case.config, num_classes=CLASSES, initialise=False).double()
    images = noise(batch, 3, side, side, dtype=torch.float64)
    found = disagreement(ours, oracle, images, order=case.order)
    assert all(found[what] < TOLERANCE[what] for what in TOLERANCE), found


def check_gates(config: str, case: Case, batch: int = 4) -> None:
    """With every gate of Squeeze-and-Excitation at 1, `config` is the oracle of the plain network."""
    torch.manual_seed(0)
    oracle = still(build_oracle(case)).double().requires_grad_(False)
    ours = still(build(config, num_classes=CLASSES)).double().requires_grad_(False)
    images = noise(batch, 3, case.image, case.image, dtype=torch.float64)
    randomise(oracle, images)
    port(ours, oracle, images.shape, order=case.order, skip=SqueezeExcite)
    expected = oracle.eval()(images)
    assert difference(ours.eval()(images), expected) > 1e-3  # gates as initialised act

    gates = [module for module in ours.modules() if isinstance(module, SqueezeExcite)]
    assert gates
    for gate in gates:
        gate.expand.weight.zero_()
        gate.expand.bias.fill_(50.0)  # 1 / (1 + exp(-50)) rounds to 1
    assert difference(ours(images), expected) < TOLERANCE["eval"]


def check_learns(config: str, dataset: str | None = None, steps: int = 10) -> None:
    """Some steps of SGD on a fixed batch of 16 at min_size lower the loss."""
    dataset = dataset or dataset_of(config)
    network = still(build(config, dataset))
    images = smallest(network, 16, in_channels(dataset))
    targets = torch.arange(16) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        losses.append(loss(network, images, targets))
        losses[-1].backward()
        optimizer.step()
    with torch.no_grad():
        losses.append(loss(network, images, targets))
    assert losses[-1] < losses[0], [round(float(value), 4) for value in losses]


def check_formats(config: str, dataset: str | None = None) -> None:
    """channels_last gives the same logits; a training step under bfloat16 autocast is finite."""
    dataset = dataset or dataset_of(config)
    network = build(config, dataset)
    images = smallest(network, 2, in_channels(dataset))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(network, images, torch.zeros(2, dtype=torch.long))
    value.backward()
    assert value.isfinite()
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    bad = [name for name, p in trained if not p.grad.sum().isfinite()]
    assert not bad, f"gradients that are not finite: {bad}"

    network.zero_grad(set_to_none=True)
    network.eval().double()
    images = images.double()
    with torch.no_grad():
        expected = network(images)
        network.to(memory_format=torch.channels_last)
        assert difference(network(images.to(memory_format=torch.channels_last)), expected) < TOLERANCE["eval"]


def check_export(config: str, dataset: str | None = None) -> None:
    """torch.export takes the network, and what it makes computes the same."""
    dataset = dataset or dataset_of(config)
    network = build(config, dataset).eval().double()
    images = smallest(network, 2, in_channels(dataset)).double()
    program = torch.export.export(network, (images,))
    with torch.no_grad():
        assert difference(program.module()(images), network(images)) < TOLERANCE["eval"]


def check_compile(config: str) -> None:
    """torch.compile takes the network whole, in training with stochastic depth and dropout, forward and backward.

    The claim about our code is that it is captured as one graph, with its gradient ("aot_eager"), and computes the
    same; generating code for the graph is torch's part and takes minutes a network.
    """
    torch.compiler.reset()
    network = build(f"{config} recipe.drop_path=0.1 recipe.dropout=0.1")
    images = smallest(network, 2, channels_of(config))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.stack([result.sum() for result in outputs(compiled(images))]).sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)

    network.eval()
    with torch.no_grad():
        assert difference(compiled(images), network(images)) < 1e-4
