"""The start and the end of a command, against importing what it needs.

python benchmarks/start.py    [--rounds 5]

On Linux. CPU seconds are compared, since others may use the machine's cores.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import ROOT, command

ONE_STEP = "train.py trainer=cpu recipe.epochs=1 trainer.limit_train_batches=1".split()


def process(*words: str) -> list[tuple[float, str]]:
    """Run Python; each line that it printed behind the CPU seconds that it had used, and as the last one its end."""
    whole = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=-1, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in whole.stdout or ():
        used = Path(f"/proc/{whole.pid}/stat").read_text().rpartition(")")[2].split()
        lines.append(((int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK"), line))
    _, status, usage = os.wait4(whole.pid, 0)
    assert status == 0, "".join(line for _, line in lines)
    return [*lines, (usage.ru_utime + usage.ru_stime, "")]


def one_run() -> dict[str, float]:
    torch, lightning = (process("-c", f"import {name}")[-1][0] for name in ("torch", "pytorch_lightning"))
    with tempfile.TemporaryDirectory() as folder:
        lines = process(*ONE_STEP, f"runs={folder}")
    epoch = next(used for used, line in lines if line.startswith("epoch 1"))
    return {
        "--help / import torch": process("train.py", "--help")[-1][0] / torch,
        "first byte / import torch": lines[0][0] / torch,
        "first epoch's line / import pytorch_lightning": epoch / lightning,
        "after the last line, s": lines[-1][0] - lines[-2][0],
        "whole command / import pytorch_lightning": lines[-1][0] / lightning,
    }


def run(rounds: int) -> None:
    """A run of one step: its first byte, the end of its first epoch and what follows its last line."""
    found = [one_run() for _ in range(rounds)]
    for name in found[0]:
        values = [ratios[name] for ratios in found]
        print(f"  {name:46} {statistics.median(values):.2f}  ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    command(__doc__, run, rounds=5)
