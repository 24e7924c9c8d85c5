"""Put faults into the code, one at a time, and run the tests that should notice: make mutants ARGS="recipes momentum"

Each tests/mutants/ROOM.yaml lists faults that a user would suffer from: `fault` in words, `file`, `was` (a text that
stands once in that file), `now` (what replaces it), and `tests`, what pytest is told. A mutant is caught if these tests
pass without it and fail with it, within two minutes. Words choose the faults whose entry has them all.
"""

import importlib
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECONDS, WORKERS = 120, 2


def mutants() -> list[dict[str, str]]:
    files = sorted(Path(__file__).parent.glob("*.yaml"))
    return [{"room": file.stem, **entry} for file in files for entry in yaml.safe_load(file.read_text())]


def mutated(mutant: dict[str, str]) -> str:
    """The file with its fault. Raises ValueError: the text to replace does not stand in it exactly once."""
    text = (ROOT / mutant["file"]).read_text()
    if (times := text.count(mutant["was"])) != 1:
        raise ValueError(f"{mutant['file']} has {mutant['was']!r} {times} times, not once.")
    return text.replace(mutant["was"], mutant["now"])


def status(tests: str, folder: Path) -> str:
    """What pytest says of the tests in a copy of the project: passed, failed, or that they could not run."""
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(tests, folder))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
        return f"took more than {SECONDS} s"
    return {0: "passed", 1: "failed"}.get(process.exitcode, "did not run")


def _pytest(tests: str, folder: Path) -> None:
    os.setsid()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True  # a changed file of the same size and second would be taken for the old one
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    result = 3  # of an error of pytest's own
    try:
        result = pytest.main(["-qx", "-p", "no:cacheprovider", "-W", "ignore:Module already", *shlex.split(tests)])
    finally:
        os._exit(result)


def judged(mutant: dict[str, str], folders: "Queue[Path]", clean: dict[str, str]) -> str:
    folder = folders.get()
    tests, file = mutant["tests"], folder / mutant["file"]
    try:
        if tests not in clean:
            clean[tests] = status(tests, folder)
        if clean[tests] != "passed":
            return f"without the fault, tests: {clean[tests]}"
        whole = file.read_bytes()
        file.write_text(mutated(mutant))
        with_fault = status(tests, folder)
        file.write_bytes(whole)
        return {"failed": "caught", "passed": "SURVIVED"}.get(with_fault, f"tests: {with_fault}")
    finally:
        folders.put(folder)


def main(words: list[str]) -> int:
    for library in ("torch", "pytorch_lightning", "timm", "torchmetrics", "torchvision", "hydra"):
        importlib.import_module(library)  # once for all
    chosen = [mutant for mutant in mutants() if all(word in str(mutant) for word in words)]
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutants-") as place, ThreadPoolExecutor(WORKERS) as threads:
        folders, clean, began = Queue[Path](), dict[str, str](), time.monotonic()
        for number in range(WORKERS):
            folders.put(folder := Path(place, str(number)))
            for name in tracked.rstrip("\0").split("\0"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
        results = threads.map(lambda mutant: judged(mutant, folders, clean), chosen)
        missed = 0
        for mutant, result in zip(chosen, results, strict=True):
            missed += result != "caught"
            print(f"{result:10} {mutant['room']}: {mutant['fault']}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mutants caught in {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
