"""Time and activation memory of our networks, against torchvision's or timm's with the same weights.

    python benchmarks/archs.py                            every network that has a counterpart there
    python benchmarks/archs.py resnet50 densenet121       these
    OMP_NUM_THREADS=1 python benchmarks/archs.py --batch 2 --seconds 15 --size 224
    python benchmarks/archs.py --recompute                what checkpoint_gradients saves, for a network per family

A pass is forward and backward in training mode; ours and theirs take turns, and the ratio is the median over pairs of
passes. Activation memory is what autograd keeps for the backward pass, without parameters and input.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from harness import ROOT, seconds
from torch import Tensor, nn

sys.path.insert(0, str(ROOT / "tests"))

from networks import build, channels_of, first_row, rows  # noqa: E402
from oracles import CLASSES, Case, build_oracle, case  # noqa: E402
from porting import outputs, port, still  # noqa: E402

FAMILIES = (
    "lenet5 alexnet vgg16_bn googlenet bn_inception inception_v2 inception_v3 inception_v4 inception_resnet_v2 "
    "resnet50 preact_resnet50 resnext50_32x4d se_resnet50 wideresnet densenet121 xception mobilenet_v1 mobilenet_v2 "
    "nasnet_a_mobile efficientnet_b0"
).split()


def comparisons(names: list[str]) -> list[tuple[Case, int]]:
    """(pair, resolution of the paper) for each network, against torchvision if it has the network, else timm."""
    found: dict[str, tuple[Case, int]] = {}
    for row in rows():
        source = "torchvision" if row.torchvision_name else "timm"
        name = row.torchvision_name or row.timm_name
        if name and (not names or row.arch.split()[0] in names):
            found.setdefault(row.arch, (case(row.arch, source, name), row.input_size))
    if missing := set(names) - {config.split()[0] for config in found}:
        counterparts = sorted({row.arch.split()[0] for row in rows() if row.torchvision_name or row.timm_name})
        sys.exit(f"No counterpart of {', '.join(sorted(missing))}; there is one of {', '.join(counterparts)}.")
    return list(found.values())


def step(network: nn.Module, images: Tensor) -> None:
    """Forward and backward; the gradients are dropped, as by an optimiser's zero_grad."""
    loss = torch.stack([result.sum() for result in outputs(network(images))]).sum()
    loss.backward()
    network.zero_grad(set_to_none=True)


def activation_bytes(network: nn.Module, images: Tensor) -> int:
    """Bytes of the storages that autograd keeps for the backward pass, each once."""
    given = {t.untyped_storage().data_ptr() for t in (images, *network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # it keeps the storage alive, so no other one gets its address

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = network(images)
    total = sum(kept.values())
    del result
    return total


def compare(pair: Case, side: int, batch: int, allowed: float) -> tuple[float, float, float, int, int]:
    """Median seconds of ours and theirs, median of their ratios, bytes of ours and theirs."""
    torch.manual_seed(0)
    theirs = still(build_oracle(pair)).train()
    ours = still(build(pair.config, num_classes=CLASSES)).train()
    images = torch.randn(batch, 3, side, side)
    port(ours, theirs, (2, 3, pair.image, pair.image), order=pair.order, our_order=pair.our_order)
    networks = (ours, theirs)
    memory = [activation_bytes(network, images) for network in networks]
    for network in networks:
        step(network, images)
    times: tuple[list[float], list[float]] = ([], [])
    start = time.perf_counter()
    while len(times[1]) < 7 or (time.perf_counter() - start < allowed and len(times[1]) < 99):
        for which in (0, 1) if len(times[1]) % 2 == 0 else (1, 0):
            times[which].append(seconds(lambda network=networks[which]: step(network, images)))
    ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
    return statistics.median(times[0]), statistics.median(times[1]), ratio, memory[0], memory[1]


def recomputation(batch: int, largest: int) -> None:
    """Print activation memory with and without `checkpoint_gradients`, for a network per family."""
    print("| arch | image | kept, MiB | recomputed, MiB | ratio |")
    print("|---|---|---|---|---|")
    for name in FAMILIES:
        network = build(name, num_classes=CLASSES).train()
        side = max(min(first.input_size if (first := first_row(name)) else 224, largest), network.min_size)
        images = torch.randn(batch, channels_of(name), side, side)
        kept = activation_bytes(network, images)
        network.checkpoint_gradients()
        recomputed = activation_bytes(network, images)
        print(
            f"| {name} | {side} | {kept / 2**20:.1f} | {recomputed / 2**20:.1f} | {recomputed / kept:.3f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files of conf/arch; all that have a counterpart")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each pair, which runs seven times at least")
    parser.add_argument(
        "--size", type=int, default=224, help="largest side of the images; smaller where the paper's is"
    )
    parser.add_argument("--recompute", action="store_true", help="memory with and without recomputation, alone")
    arguments = parser.parse_args()
    if arguments.recompute:
        return recomputation(arguments.batch, arguments.size)

    pairs = comparisons(arguments.names)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {arguments.batch}\n")
    print("| arch | against | image | ours, ms | theirs, ms | ratio | ours, MiB | theirs, MiB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for pair, paper_side in pairs:
        # torchvision's auxiliary head of Inception v3 needs its 299 pixels
        side = paper_side if "aux_heads=true" in pair.config else min(paper_side, arguments.size)
        a, b, ratio, memory_a, memory_b = compare(pair, side, arguments.batch, arguments.seconds)
        ratios.append(ratio)
        print(
            f"| {pair.config} | {pair.source} {pair.name} | {side} | {a * 1e3:.1f} | {b * 1e3:.1f} | {ratio:.3f} "
            f"| {memory_a / 2**20:.1f} | {memory_b / 2**20:.1f} | {memory_a / memory_b:.3f} |",
            flush=True,
        )
    print(f"\nRatio of the times: geometric mean {statistics.geometric_mean(ratios):.3f}, worst {max(ratios):.3f}")
    built = statistics.median(seconds(lambda: build("resnet50")) for _ in range(5))
    print(f"Building resnet50: {built:.3f} s (composed once before)")


if __name__ == "__main__":
    main()
