"""Weights from one network to another in order of execution, and the comparison of the two.

No renaming table: the modules that own parameters are listed in the order in which a forward pass calls them, and the
n-th of the oracle fills the n-th of ours. Where the oracle runs parallel branches in another order, the order is stated
(`Order`); nothing is matched by shape alone.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# {regular expression of a module's path: its children in the order to be taken}. Example: {r"layer\d\.\d": ["conv3",
# "downsample"]} puts what is under `downsample` after what is under `conv3`, wherever the forward pass has it; children
# that are not named keep their places. The path "" is the network itself.
Order = Mapping[str, Sequence[str]]

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def owned(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and batch normalisation statistics that the module itself holds, not its children."""
    statistics = {name: buffer for name, buffer in module.named_buffers(recurse=False) if name in STATISTICS}
    return dict(module.named_parameters(recurse=False)) | statistics


def executed(network: nn.Module, image: Sequence[int], skip: type[nn.Module] | None = None) -> list[str]:
    """Names of the modules that own parameters, in the order in which a training forward pass calls them.

    The pass runs on the meta device, so it costs nothing and changes no statistics; in training mode, so auxiliary
    heads are in it. `image` is the shape of the input. Modules of type `skip` are left out, with all they contain.
    """
    skipped = tuple(f"{name}." for name, m in network.named_modules() if skip and isinstance(m, skip))
    modules = {name: m for name, m in network.named_modules() if owned(m)}
    names = {m: name for name, m in modules.items() if not f"{name}.".startswith(skipped)}
    calls: list[str] = []
    hooks = [m.register_forward_pre_hook(lambda module, _: calls.append(names[module])) for m in names]
    tensors = [*network.named_parameters(), *network.named_buffers()]
    on_meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    modes = {m: m.training for m in network.modules()}
    network.train()
    try:
        torch.func.functional_call(network, on_meta, (torch.empty(tuple(image), device="meta", dtype=dtype(network)),))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    assert sorted(calls) == sorted(names.values())  # each runs once
    return calls


def dtype(network: nn.Module) -> torch.dtype:
    return next(p.dtype for p in network.parameters())


def reordered(names: Sequence[str], order: Order) -> list[str]:
    """Apply each rule of `order` in turn: among the places that a parent's named children hold, children in order."""
    names = list(names)
    for parent, children in order.items():
        prefix = rf"({parent})\." if parent else "()"
        pattern = re.compile(rf"{prefix}({'|'.join(map(re.escape, children))})(?:\.|$)")
        places: dict[str, list[tuple[int, int]]] = {}
        for place, name in enumerate(names):
            if match := pattern.match(name):
                places.setdefault(match[1], []).append((place, children.index(match[2])))
        assert places, f"no module matches the order hint {parent!r}: {list(children)}"
        for group in places.values():
            ranked = [names[place] for place, _ in sorted(group, key=lambda item: item[1])]  # stable
            for (place, _), name in zip(group, ranked, strict=True):
                names[place] = name
    return names


def same_weights(a: torch.Size, b: torch.Size) -> bool:
    """Equal, or a linear layer against the convolution that covers its whole input: (O, I x K x K) and (O, I, K, K)."""
    return a == b or ({len(a), len(b)} == {2, 4} and a[0] == b[0] and a.numel() == b.numel())


@torch.no_grad()
def port(
    ours: nn.Module, oracle: nn.Module, image: Sequence[int], *, order: Order,
    skip: type[nn.Module] | None = None,
) -> list[tuple[str, str]]:  # fmt: skip
    """Copy the oracle's parameters and statistics into our network. AssertionError: their modules do not correspond.

    Args:
        order: where the oracle runs parallel branches in another order than we do.
        skip: a type of module that only our network has (gates of Squeeze-and-Excitation).

    Returns:
        (our module, the oracle's module) in order of execution.
    """
    our_names = executed(ours, image, skip)
    their_names = reordered(executed(oracle, image), order)
    our_modules, their_modules = dict(ours.named_modules()), dict(oracle.named_modules())
    assert len(our_names) == len(their_names), (our_names, their_names)
    mapping = list(zip(our_names, their_names, strict=True))
    for our_name, their_name in mapping:
        a, b = owned(our_modules[our_name]), owned(their_modules[their_name])
        shapes = [{key: tuple(tensor.shape) for key, tensor in side.items()} for side in (a, b)]
        fits = set(a) == set(b) and all(same_weights(a[key].shape, b[key].shape) for key in a)
        assert fits, f"our {our_name} {shapes[0]}, the oracle's {their_name} {shapes[1]}"
        for key, tensor in a.items():
            tensor.copy_(b[key].reshape(tensor.shape))
    return mapping


@torch.no_grad()
def randomise(network: nn.Module, images: Tensor, seed: int = 0) -> None:
    """Give every bias, affine weight and statistic a value that shows in the output.

    A zero gamma hides a wrong branch; a variance far from the data's makes one branch drown the other. So the
    statistics are first the batch's own, then off by a random factor.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, _BatchNorm) and name == "weight":
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
            elif name == "bias":
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    momenta = [m.momentum for m in norms]
    training = network.training
    for module in norms:
        module.momentum = 1.0
    network.train()(images)
    network.train(training)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
        variance = module.running_var
        module.running_mean.add_(variance.sqrt() * 0.3 * torch.randn(variance.shape, generator=generator))
        variance.mul_(torch.rand(variance.shape, generator=generator) + 0.5)


def still(network: nn.Module) -> nn.Module:
    """Switch off what is random in training mode: dropout and stochastic depth, whoever wrote them."""
    for module in network.modules():
        for name in ("p", "rate", "drop_prob", "drop_rate"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


def outputs(result) -> list[Tensor]:
    """The logits and then the auxiliary logits, in whatever container they come; None is dropped."""
    if isinstance(result, Tensor):
        return [result]
    return [tensor for part in result if part is not None for tensor in outputs(part)]


def difference(a: Tensor, b: Tensor) -> float:
    """max|a - b| / max|b|; infinite where a shape or a value is wrong beyond measuring."""
    if a.shape != b.shape or not (a.isfinite().all() and b.isfinite().all()):
        return float("inf")
    return float((a - b).detach().abs().max() / b.detach().abs().max())


def logits_and_gradient(network: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The outputs, and the gradient with respect to the images of a fixed random combination of them."""
    images = images.clone().requires_grad_()
    results = outputs(network(images))
    generator = torch.Generator().manual_seed(1)
    loss = sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results)
    (gradient,) = torch.autograd.grad(loss, images)
    return [r.detach() for r in results], gradient


def statistics(network: nn.Module, names: Sequence[str]) -> list[Tensor]:
    modules = dict(network.named_modules())
    norms = [modules[name] for name in names if isinstance(modules[name], _BatchNorm)]
    return [tensor.clone() for module in norms for tensor in (module.running_mean, module.running_var)]


def disagreement(ours: nn.Module, oracle: nn.Module, images: Tensor, **options) -> dict[str, float]:
    """Port the weights and return the worst differences: eval logits, input gradient, training logits, statistics.

    Both networks must be in double precision; the options are those of `port`.
    """
    for network in (ours, oracle):
        still(network).requires_grad_(False)
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 0.1  # how fast statistics follow is the training's choice, not the network's
    randomise(oracle, images)
    mapping, result = port(ours, oracle, images.shape, **options), {}
    (a, grad_a), (b, grad_b) = (logits_and_gradient(n.eval(), images) for n in (ours, oracle))
    result["eval"] = worst(a, b)
    result["gradient"] = difference(grad_a, grad_b)
    with torch.no_grad():
        a, b = (outputs(n.train()(images)) for n in (ours, oracle))
    result["train"] = worst(a, b)
    a, b = (statistics(n, [pair[side] for pair in mapping]) for side, n in enumerate((ours, oracle)))
    result["statistics"] = worst(a, b)
    return result


def worst(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    if len(ours) != len(theirs):
        return float("inf")
    return max((difference(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
