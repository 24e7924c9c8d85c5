"""What only a GPU can show, in one command of at most nine minutes: speed beside other scripts, and what has to work.

python benchmarks/gpu.py [--only PART ...] [--out gpu.json] [--airbench airbench94_muon.py] [--timm train.py]
python benchmarks/gpu.py --tiny cpu    the same code on a CPU with small networks, whose times mean nothing

Parts: speedrun, resnet50, rsb_a2, files, small, waits, works, resume. Each is a process of its own, which is ended at
its time limit. After each its rows are printed and the JSON file is written again. The status is 1 if a part, or one
of its rows, failed. CIFAR-10 is real if LINEAGE_DATA, or data/, holds cifar-10-batches-py.
"""

import argparse
import json
import os
import signal
import subprocess
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

from harness import ROOT

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
        device: "cuda" or "cpu".
        tiny: whether to take small networks and few steps.
        airbench, timm: the user's own copies of airbench94_muon.py and timm's train.py; None: not given.
        folder: for its files.
    """

    device: str
    tiny: bool
    airbench: str | None
    timm: str | None
    folder: Path

    @property
    def trainer(self) -> str:
        return "trainer=cpu" if self.device == "cpu" else "trainer=gpu"


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


def measure_part(name: str, kit: Kit, rows: Path) -> None:
    """In the part's own process: write each row as a line of JSON when it is known."""
    kit.folder.mkdir()
    os.environ["LINEAGE_DATA"] = os.path.abspath(os.environ.get("LINEAGE_DATA", "data"))
    os.environ["XDG_CACHE_HOME"] = str(kit.folder)  # of indices of image folders
    os.chdir(kit.folder)
    with rows.open("w") as file:
        for row in getattr(import_module(PARTS[name][0]), name)(kit):
            print(json.dumps(asdict(row)), file=file, flush=True)


def run_part(name: str, words: list[str], folder: Path, limit: int) -> dict[str, Any]:
    """Run a part in a process of its own; its rows, its seconds, and how it ended. Nothing it started outlives it."""
    rows, log, began = folder / f"{name}.jsonl", folder / f"{name}.log", time.monotonic()
    command = [sys.executable, str(Path(__file__).resolve()), *words, "--part", name, "--folder", str(folder)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            code = process.wait(limit)
            end = "finished" if code == 0 else f"failed with status {code}"
        except subprocess.TimeoutExpired:
            end = f"was ended after {limit} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    failed = end != "finished" or any(row["failed"] for row in found) or not found
    said = log.read_text(errors="replace").splitlines()[-30:] if failed else []
    return {"end": end, "failed": failed, "seconds": round(time.monotonic() - began, 1), "rows": found, "log": said}


def show(name: str, part: dict[str, Any]) -> None:
    print(f"{name}: {part['end']}, {part['seconds']:g} s")
    for row in part["rows"]:
        print(Row(**row))
    if part["end"] != "finished":
        print("\n".join(f"  | {line}" for line in part["log"][-8:]))
    sys.stdout.flush()


def machine(device: str) -> dict[str, Any]:
    import torch

    from lineage.reporting.results import git_state, versions

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU here; --tiny cpu shows that the kit itself works.")
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"device": name, "cores": os.cpu_count(), "versions": versions(), "git": git_state()}


def run_parts(arguments: argparse.Namespace, device: str) -> bool:
    """Whether a part failed."""
    from lineage.files import write_whole

    record: dict[str, Any] = {"tiny": arguments.tiny, **machine(device), "parts": {}}
    print(f"{record['device']}, {record['cores']} cores, {record['versions']}", flush=True)
    given = {"tiny": arguments.tiny, "airbench": arguments.airbench, "timm": arguments.timm}
    words = [f"--{name}={value}" for name, value in given.items() if value]
    with tempfile.TemporaryDirectory(prefix="lineage-gpu-", ignore_cleanup_errors=True) as folder:
        for name in arguments.only:
            limit = PARTS[name][1] * (ON_A_CPU if device == "cpu" else 1)
            record["parts"][name] = run_part(name, words, Path(folder), limit)
            write_whole(arguments.out, json.dumps(record, indent=1), "choose --out FILE")
            show(name, record["parts"][name])
    failed = [name for name, part in record["parts"].items() if part["failed"]]
    print(f"{arguments.out}: {len(record['parts'])} parts, failed: {', '.join(failed) or 'none'}")
    return bool(failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", metavar="DEVICE", choices=("cpu", "cuda"), help="small networks, on cpu or cuda")
    parser.add_argument("--only", metavar="PART", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--airbench", type=os.path.abspath, help="your copy of airbench94_muon.py")
    parser.add_argument("--timm", type=os.path.abspath, help="your copy of timm's train.py")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = arguments.tiny or "cuda"
    if arguments.part:
        kit = Kit(device, bool(arguments.tiny), arguments.airbench, arguments.timm, arguments.folder / arguments.part)
        return measure_part(arguments.part, kit, arguments.folder / f"{arguments.part}.jsonl")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running part is ended too
    sys.exit(run_parts(arguments, device))


if __name__ == "__main__":
    main()
