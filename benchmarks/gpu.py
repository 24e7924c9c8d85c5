"""What only a GPU can show, in one command of at most nine minutes: speed beside other scripts, and what has to work.

python benchmarks/gpu.py [--only PART ...] [--out gpu.json] [--airbench airbench94_muon.py] [--timm train.py]
python benchmarks/gpu.py --tiny cpu    the same code on a CPU with small networks, whose times mean nothing

Each part is a process of its own, which is ended at its time limit. After each its rows are printed and the JSON file
is written again. The status is 1 if a part, or one of its rows, failed. CIFAR-10 is real if LINEAGE_DATA, or data/,
holds cifar-10-batches-py.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from harness import ROOT

from lineage.files import write_whole
from lineage.reporting.results import git_state, versions

SPEED, CHECKS = "gpu_speed", "gpu_checks"  # the modules with the parts' functions
PARTS = {  # the most seconds that each may take on a GPU, nine minutes together
    "speedrun": (SPEED, 175),
    "resnet50": (SPEED, 60),
    "rsb_a2": (SPEED, 50),
    "files": (SPEED, 65),
    "small": (SPEED, 50),
    "waits": (CHECKS, 30),
    "works": (CHECKS, 60),
    "resume": (CHECKS, 50),
}
ON_A_CPU = 6  # times as long


@dataclass(frozen=True)
class Kit:
    """What a part gets.

    Args:
        folder: for its files.
        tiny: whether to take small networks and few steps.
        airbench, timm: the user's own copies of airbench94_muon.py and timm's train.py; None: not given.
    """

    device: str
    folder: Path
    tiny: bool
    airbench: str | None = None
    timm: str | None = None

    @property
    def trainer(self) -> str:
        return "trainer=gpu" if self.device == "cuda" else "trainer=cpu"


@dataclass(frozen=True)
class Row:
    """A line of the table. value: None: nothing is measured, for the reason in `note`."""

    what: str
    value: float | None = None
    unit: str = ""
    note: str = ""
    failed: bool = False

    def __str__(self) -> str:
        value = "FAILED" if self.failed else "" if self.value is None else f"{self.value:,.4g}"
        return f"  {self.what:40s} {value:>9s} {self.unit:12s} {self.note}".rstrip()


def tried(what: str, measure: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a measurement. If it raises an exception, a row says so, and the part goes on."""
    try:
        yield from measure()
    except Exception as error:
        traceback.print_exc()
        line, message = own_line(traceback.extract_tb(error.__traceback__)), " ".join(str(error).split())
        yield Row(what, note=f"{type(error).__name__}: {message[:300]} ({line})", failed=True)


def own_line(stack: Sequence[traceback.FrameSummary]) -> str:
    """The innermost line of this project in a stack, as PATH:LINE: CODE."""
    own = [frame for frame in stack if frame.filename.startswith(str(ROOT)) and "site-packages" not in frame.filename]
    return f"{os.path.relpath(own[-1].filename, ROOT)}:{own[-1].lineno}: {own[-1].line}"


def measure_part(name: str, kit: Kit) -> None:
    """In the part's own process: write each row as a line of JSON when it is known, and what is printed to a log."""
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # of its own processes: the system's default, as in a run
    with open(kit.folder / "log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ["LINEAGE_DATA"] = os.path.abspath(os.environ.get("LINEAGE_DATA", "data"))
    os.environ["XDG_CACHE_HOME"] = str(kit.folder)  # of indices of image folders
    os.chdir(kit.folder)
    with open("rows", "w") as file:
        for row in getattr(import_module(PARTS[name][0]), name)(kit):
            print(json.dumps(asdict(row)), file=file, flush=True)


def run_part(name: str, kit: Kit, limit: int) -> dict[str, Any]:
    """Run a part in a process of its own; its rows, its seconds, and how it ended. Nothing it started outlives it."""
    kit.folder.mkdir()
    process = multiprocessing.get_context("spawn").Process(target=measure_part, args=(name, kit))
    began = time.monotonic()
    process.start()
    try:
        process.join(limit)
        ended = "finished" if process.exitcode == 0 else f"failed with status {process.exitcode}"
        end = f"was ended after {limit} s" if process.exitcode is None else ended
    finally:
        process.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    rows, log = (kit.folder / file for file in ("rows", "log"))
    found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    failed = end != "finished" or any(row["failed"] for row in found) or not found
    said = log.read_text(errors="replace").splitlines()[-30:] if failed and log.exists() else []
    return {"end": end, "failed": failed, "seconds": round(time.monotonic() - began, 1), "rows": found, "log": said}


def show(name: str, part: dict[str, Any]) -> None:
    print(f"{name}: {part['end']}, {part['seconds']:g} s")
    for row in part["rows"]:
        print(Row(**row))
    if part["end"] != "finished":
        print("\n".join(f"  | {line}" for line in part["log"][-8:]))
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", metavar="DEVICE", choices=("cpu", "cuda"), help="small networks, on cpu or cuda")
    parser.add_argument("--only", metavar="PART", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--airbench", type=os.path.abspath, help="your copy of airbench94_muon.py")
    parser.add_argument("--timm", type=os.path.abspath, help="your copy of timm's train.py")
    arguments = parser.parse_args()
    device, tiny = arguments.tiny or "cuda", bool(arguments.tiny)
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU here; --tiny cpu shows that the kit itself works.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running part is ended too
    gpu, parts = torch.cuda.get_device_name() if device == "cuda" else "CPU", dict[str, Any]()
    facts = {"tiny": tiny, "device": gpu, "cores": os.cpu_count(), "versions": versions(), "git": git_state()}
    print(f"{gpu}, {facts['cores']} cores, {facts['versions']}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lineage-gpu-", ignore_cleanup_errors=True) as folder:
        for name in arguments.only:
            kit = Kit(device, Path(folder) / name, tiny, arguments.airbench, arguments.timm)
            parts[name] = run_part(name, kit, PARTS[name][1] * (ON_A_CPU if device == "cpu" else 1))
            write_whole(arguments.out, json.dumps({**facts, "parts": parts}, indent=1), "choose --out FILE")
            show(name, parts[name])
    failed = [name for name, part in parts.items() if part["failed"]]
    print(f"{arguments.out}: {len(parts)} parts, failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
