"""What the benchmarks share: configs, work that is timed in turns, and a command that names the benchmarks of a file.

Single times on a shared machine drift. So the alternatives take turns, and the medians of their ratios are compared.
"""

import argparse
import inspect
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def config(*overrides: str) -> Any:
    from hydra import compose, initialize_config_dir

    from lineage.config import schema  # noqa: F401  # the types of the config

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


def completed(*overrides: str) -> Any:
    """The config of `python train.py OVERRIDES`, checked and completed as the command does."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    from lineage.config import schema  # noqa: F401  # the types of the config
    from lineage.config.checks import checks
    from lineage.config.completion import complete

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    checks(cfg)
    return complete(cfg)


def recipe(name: str, **changes: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_object(OmegaConf.merge(config(f"recipe={name}").recipe, changes))


def synchronise() -> None:
    """Wait for the GPU, if this process uses one."""
    import torch

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


def compare(
    rounds: int, measure: Callable[[Any], float] = seconds, warm_up: bool = True, **works: Callable[[], Any] | None
) -> None:
    """Time works in turns; print each one's median, and the median ratio of the first to each of the others.

    Args:
        measure: runs a work and returns its time.
        warm_up: whether to run each once before.
        works: by name; None: its library is not installed.
    """
    present = {name: work for name, work in works.items() if work is not None}
    for work in present.values() if warm_up else ():
        work()
    turns = [{name: measure(work) for name, work in present.items()} for _ in range(rounds)]
    first, *others = present
    for name in present:
        print(f"  {name:28s} {statistics.median(turn[name] for turn in turns):8.4f} s")
    for name in others:
        middle, least, most = ratio(turns, first, name)
        print(f"  {first} / {name}: {middle:.3f}  ({least:.3f} to {most:.3f})")


def ratio(turns: Sequence[dict[str, float]], first: str, other: str) -> tuple[float, float, float]:
    """The median, the smallest and the largest ratio of two works' times, each of one turn."""
    ratios = [turn[first] / turn[other] for turn in turns]
    return statistics.median(ratios), min(ratios), max(ratios)


def command(description: str | None, *benchmarks: Callable[..., None], rounds: int, threads: int | None = 1) -> None:
    """Run the benchmarks that the command line names, or all of them.

    Args:
        benchmarks: functions of `rounds`, and of `device` if it may be another one than the CPU.
        rounds: default of --rounds.
        threads: of PyTorch; None: as many as it chooses.
    """
    import torch

    known = {benchmark.__name__: benchmark for benchmark in benchmarks}
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*known, []], default=[])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    arguments = parser.parse_args()
    chosen = [known[name] for name in arguments.names or known]
    torch.set_num_threads(threads or torch.get_num_threads())
    for benchmark in chosen:
        device = {"device": arguments.device} if "device" in inspect.signature(benchmark).parameters else {}
        if not device and arguments.device != "cpu":
            parser.error(f"{benchmark.__name__} measures the CPU: it takes no --device")
        print(f"{benchmark.__name__}: {(benchmark.__doc__ or '').strip()}")
        benchmark(arguments.rounds, **device)
