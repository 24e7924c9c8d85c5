"""What the benchmarks share: work that is timed in turns, and a command that names the benchmarks of a file.

Single times on a shared machine drift. So the alternatives take turns, and the medians of their ratios are compared.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def synchronise() -> None:
    """Wait for the GPU, if this process uses one."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any]) -> float:
    synchronise()
    began = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - began


def cpu_seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def own_seconds(work: Callable[[], float]) -> float:
    """For work that times itself."""
    return work()


Ratios = dict[str, tuple[float, float, float]]  # median, smallest and largest


def in_turns(
    rounds: int, works: Mapping[str, Callable[[], Any]], measure: Callable[[Any], float]
) -> tuple[dict[str, float], Ratios]:
    """Time works in turns: each one's median, and the ratio of the first's time to each of the others', by name."""
    turns = [{name: measure(work) for name, work in works.items()} for _ in range(rounds)]
    first, *others = works
    ratios = {name: [turn[first] / turn[name] for turn in turns] for name in others}
    medians = {name: statistics.median(turn[name] for turn in turns) for name in works}
    return medians, {name: (statistics.median(each), min(each), max(each)) for name, each in ratios.items()}


def compare(
    rounds: int, measure: Callable[[Any], float] = seconds, warm_up: bool = True, **works: Callable[[], Any]
) -> None:
    """Time works in turns, and print their medians and ratios.

    Args:
        measure: runs a work and returns its time.
        warm_up: whether to run each once before.
        works: by name.
    """
    for work in works.values() if warm_up else ():
        work()
    medians, ratios = in_turns(rounds, works, measure)
    for name, median in medians.items():
        print(f"  {name:28s} {median:8.4f} s")
    for name, (middle, least, most) in ratios.items():
        print(f"  {next(iter(works))} / {name}: {middle:.3f}  ({least:.3f} to {most:.3f})")


def command(description: str | None, *benchmarks: Callable[[int], None], rounds: int, threads: int | None = 1) -> None:
    """Run the benchmarks that the command line names, or all of them.

    Args:
        rounds: default of --rounds.
        threads: of PyTorch; None: as many as it chooses.
    """
    known = {benchmark.__name__: benchmark for benchmark in benchmarks}
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*known, []], default=[])
    parser.add_argument("--rounds", type=int, default=rounds)
    arguments = parser.parse_args()
    torch.set_num_threads(threads or torch.get_num_threads())
    for benchmark in [known[name] for name in arguments.names or known]:
        print(f"{benchmark.__name__}: {(benchmark.__doc__ or '').strip()}")
        benchmark(arguments.rounds)
