"""How fast a network is and what memory it takes, by the images of a forward pass; each network in its own process.

The method is that of Bianco, Cadene, Celona, Napoletano 2018 (arXiv 1810.00736): passes of random images in evaluation
mode, some to warm up, then those that are timed, and the device is waited for. As in timm's benchmark.py, a GPU may
choose among its algorithms, and numbers are fp32 as PyTorch computes them by default.
"""

import multiprocessing
import platform
import re
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from lineage import assemble
from lineage.analysis.networks import amount
from lineage.config.derived import eval_size
from lineage.errors import UserError
from lineage.running.parent import follow_parent

START = 600.0  # seconds that a process has to import torch and build the network
LEAST = 2  # passes that are timed, however long they take


def machine(device: str) -> dict[str, Any]:
    """The device's name, the threads of a CPU, and versions. Raises UserError: there is no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: PyTorch finds no CUDA device here; device=cpu measures the processor.")
    cpu = _entry("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    name = torch.cuda.get_device_name() if device == "cuda" else cpu
    threads = torch.get_num_threads() if device == "cpu" else None
    return {"machine": name, "threads": threads, "torch": torch.__version__, "python": platform.python_version()}


def measure(cfg: DictConfig) -> dict[str, Any]:
    """Measure a network with batches of growing size, until one takes too long or too much memory.

    Returns:
        For each batch N of cfg.batch images_per_second_N, memory_N (bytes at most, beyond those of a process without a
        network) and, on a GPU, reserved_N; and `left_empty`, which batches were not measured and why.
    """
    OmegaConf.resolve(cfg)
    spawn, row, batches = multiprocessing.get_context("spawn"), dict[str, Any](), sorted(cfg.batch)
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measure, args=(there, cfg, batches), daemon=True)
    process.start()
    there.close()
    try:
        found = _receive(here, process, START)  # the network is built
        while batches and isinstance(found, dict):
            found = _receive(here, process, cfg.seconds)
            if isinstance(found, dict):
                batch = batches.pop(0)
                row |= {f"{key}_{batch}": value for key, value in found.items()}
    finally:
        process.kill()
        process.join()
    return {**row, "left_empty": f"{', '.join(map(str, batches))} images: {found}" if batches else ""}


def _receive(here: Connection, process: Any, seconds: float) -> dict[str, Any] | str:
    """What the process measured, or why it did not."""
    if not here.poll(seconds):
        return f"more than {seconds:g} s"
    try:
        return here.recv()
    except EOFError:
        process.join()
        if process.exitcode > 0:
            raise RuntimeError("The process of a network failed; its traceback stands above.") from None
        return "out of memory"  # the system ended it


def _measure(there: Connection, cfg: DictConfig, batches: list[int]) -> None:
    """The network's process: sends an empty mapping when the network is built, and what it measures of each batch."""
    follow_parent()
    device, side, torch.backends.cudnn.benchmark = torch.device(cfg.device), eval_size(cfg), True
    try:
        _limit_memory(cfg.max_memory and amount(cfg.max_memory, "max_memory"), device)
        assemble.network(cfg, device="meta")  # imports what it needs
        empty = _bytes("/proc/self/status", "VmRSS")
        network = assemble.network(cfg).eval().to(device)
        there.send({})
        for batch in batches:
            images = torch.randn(batch, cfg.datamodule.channels, side, side, device=device)
            speed = batch / median(_times(partial(network, images), cfg))
            there.send({"images_per_second": float(f"{speed:.5g}"), **_peak_memory(device, empty)})
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not re.search("allocat|memory|create a primitive", str(error)):
            raise
        there.send("out of memory")


@torch.inference_mode()
def _times(forward: Callable[[], Any], cfg: DictConfig) -> list[float]:
    """Seconds of each timed pass. There are fewer passes than the config says where these would take all its seconds,
    and then at least one to warm up."""
    _repeat(forward, cfg.warm_up, 1, cfg.seconds / 4)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # of the smaller batches, and of algorithms that were tried
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # Linux alone has it
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return _repeat(forward, cfg.passes, LEAST, cfg.seconds / 2)


def _repeat(forward: Callable[[], Any], most: int, least: int, seconds: float) -> list[float]:
    times = list[float]()
    while len(times) < least or (len(times) < most and sum(times) < seconds):
        began = time.perf_counter()
        forward()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return times


# ---- memory


def _limit_memory(most: float | None, device: torch.device) -> None:
    """Let allocations beyond `most` bytes fail; None: beyond what this machine has free, as far as it tells."""
    if device.type == "cuda" and most is not None:
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(most / whole, 1.0))
    elif device.type == "cpu" and (used := _bytes("/proc/self/status", "VmData")) is not None:
        most = most or _bytes("/proc/meminfo", "MemAvailable") or 0
        resource.setrlimit(resource.RLIMIT_DATA, (used + int(most), resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _peak_memory(device: torch.device, empty: int | None) -> dict[str, int | None]:
    if device.type == "cuda":
        return {"memory": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    peak = _bytes("/proc/self/status", "VmHWM")
    return {"memory": None if peak is None or empty is None else peak - empty}


def _bytes(file: str, name: str) -> int | None:
    entry = _entry(file, name)
    return 1024 * int(entry.split()[0]) if entry else None


def _entry(file: str, name: str) -> str:
    """The first entry of a file of Linux's /proc; "" where there is none."""
    try:
        found = re.search(rf"^{name}\s*: *(.+)$", Path(file).read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""
