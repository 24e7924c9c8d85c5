"""Two sides that take turns, and the command of a file of such measurements."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def compare(rounds: int, **sides: Callable[[], float]) -> None:
    """Print each side's median seconds and the median of the first side's ratio to each of the others."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(side())
    first, *others = sides
    for name in sides:
        print(f"  {name:28s} {statistics.median(times[name]):8.4f} s")
    for name in others:
        ratios = [a / b for a, b in zip(times[first], times[name], strict=True)]
        print(f"  {first} / {name}: {statistics.median(ratios):.3f}  ({min(ratios):.3f} to {max(ratios):.3f})")


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command(description: str | None, *benchmarks: Callable[[int], None], rounds: int) -> None:
    """Run the benchmarks that the command line names, or all of them."""
    known = {benchmark.__name__: benchmark for benchmark in benchmarks}
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*known, []], default=[])
    parser.add_argument("--rounds", type=int, default=rounds)
    arguments = parser.parse_args()
    for name in arguments.names or known:
        print(f"{name}: {(known[name].__doc__ or '').strip()}")
        known[name](arguments.rounds)
