"""What is compared of two runs."""

import csv
import signal
from pathlib import Path
from typing import Any

import torch
from doors import Command, results, start
from torch.utils._pytree import keystr, tree_flatten_with_path

from lineage.running.checkpoints import read

# A small network under everything that is random: mixup, cutmix, RandAugment in workers, repetitions, stochastic depth.
EVERYTHING = tuple(
    "arch=resnet_cifar arch.depth=8 arch.shortcut=B recipe=rsb_a2 recipe.epochs=3 recipe.warmup_epochs=1 "
    "recipe.ema=0.9 recipe.ema_ramp=true recipe.precise_bn=64 recipe.lookahead=0.5 recipe.lookahead_steps=3 "
    "recipe.batch_size=64 recipe.grad_clip=1 trainer=cpu trainer.max_per_device=16 logger=csv "
    "trainer.limit_val_batches=1 trainer.checkpoint_steps=1 trainer.log_every_n_steps=2 datamodule.val_size=1117 "
    "datamodule.workers=1".split()
)
SHORT = tuple("recipe.epochs=2 recipe.batch_size=128 recipe.decay_epochs=[1] trainer=cpu logger=csv".split())
PAIR = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.timeout_s=60")
OF_THE_CLOCK = ("seconds", "images_per_second", "training_seconds", "peak_memory_bytes")
OF_THE_COMMAND = ("overrides", "git")


def rows(folder: Path) -> list[dict[str, str]]:
    """metrics.csv and steps.csv without the columns of time."""
    found = []
    for path in filter(Path.exists, (folder / "metrics.csv", folder / "steps.csv")):
        with open(path) as file:
            found += [{k: v for k, v in row.items() if k not in OF_THE_CLOCK} for row in csv.DictReader(file)]
    return found


def values(folder: Path) -> dict[str, Any]:
    """Everything in a run's last checkpoint, by where it is."""
    leaves, _ = tree_flatten_with_path(read(folder / "checkpoints" / "last.ckpt"))
    return {keystr(path): leaf for path, leaf in leaves}


def assert_same_state(a: Path, b: Path, but: str = "-") -> None:
    """Everything in two last checkpoints is equal, but for the clock and names that begin so."""
    one, other = ({k: v for k, v in values(folder).items() if not k.startswith(but)} for folder in (a, b))
    assert one.keys() == other.keys()
    for key, value in one.items():
        if not key.endswith("seconds']"):
            same = torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
            assert same, key


def assert_same_run(a: Path, b: Path) -> None:
    """Two finished runs left the same: tensors, rows and results, but for the clock."""
    assert_same_state(a, b)
    assert rows(a) == rows(b)
    one, other = results(a), results(b)
    assert one.keys() == other.keys()
    left_out = (*OF_THE_CLOCK, *OF_THE_COMMAND)
    assert {k: v for k, v in one.items() if k not in left_out} == {k: v for k, v in other.items() if k not in left_out}


def saved(folder: Path, count: int, *words: str, **environment: str) -> Command:
    """A training run of name `folder.name` that has just written last.ckpt for the count-th time."""
    run = start(folder.parents[1], "train", *words, f"run={folder.name}", **environment)
    last, seen = folder / "checkpoints" / "last.ckpt", set()

    def is_saved() -> bool:
        if last.exists():
            seen.add(last.stat().st_mtime_ns)
        return len(seen) >= count

    run.wait_for(is_saved)
    return run


def kill_once_saved(folder: Path, count: int, *words: str) -> None:
    run = saved(folder, count, *words)
    run.kill()
    assert run.wait().returncode == 128 + signal.SIGKILL
