"""The parts of gpu.py that check what has to hold: steps that wait for nothing, mechanisms, exact resume."""

import json
import math
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from gpu import Kit, Row, own_line, tried
from harness import ROOT
from loops import build
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from lineage.running.checkpoints import LAST, read

SMALL = (
    "arch=resnet_cifar arch.depth=8 arch.shortcut=B datamodule=synthetic datamodule.resolution=32 logger=csv "
    "datamodule.num_classes=10 datamodule.samples=1024 datamodule.test_samples=64 trainer.max_epochs=1 "
    "recipe.batch_size=128 recipe.device_batch=64"
).split()
MODERN = "recipe=rsb_a2 recipe.rand_augment='' recipe.ema=0.9 recipe.grad_clip=1".split()


# ---- lines that wait for the device


class Listening(Callback):
    """Lets PyTorch warn of each wait for the GPU, from the third step of an epoch to the last but one."""

    steps = 0

    def on_train_batch_end(self, trainer: Any, module: Any, out: Any, batch: Any, index: int) -> None:
        self.steps += torch.cuda.get_sync_debug_mode() != 0
        torch.cuda.set_sync_debug_mode("warn" if 1 <= index < trainer.num_training_batches - 2 else "default")


def waits(kit: Kit) -> Iterator[Row]:
    """Every line that waits for the GPU in a step. On a CPU none does: tests/unit/recipes/test_kernels.py takes steps
    on tensors without values."""
    for name, words in (("resnet_cifar", ["recipe=resnet_cifar"]), ("rsb_a2", MODERN)):
        yield from tried(name, partial(waiting_lines, kit, name, words))


def waiting_lines(kit: Kit, name: str, words: list[str]) -> Iterator[Row]:
    lines, listening = Counter[str](), Listening()

    def hear(message: Any, category: Any, file: str, number: int, *_: Any) -> None:
        if "called a synchronizing" in str(message):
            lines[f"{Path(file).name}:{number} under {own_line(traceback.extract_stack()[:-1])}"] += 1

    trainer, classifier, data = build(*SMALL, *words, kit.trainer, "trainer.limit_val_batches=0", everything=True)
    trainer.callbacks += [listening] if kit.device == "cuda" else []
    with warnings.catch_warnings(), mock.patch.object(warnings, "showwarning", hear):
        warnings.simplefilter("always")
        trainer.fit(classifier, datamodule=data)
    if kit.device == "cpu":
        yield Row(f"{name}: waits", note="needs a GPU")
        return
    yield Row(f"{name}: waits", lines.total() / listening.steps, "a step", f"{listening.steps} steps")
    for line, count in lines.most_common():
        yield Row(f"{name}: a wait", count / listening.steps, "a step", line)


# ---- commands


def train(kit: Kit, name: str, *words: str) -> dict[str, Any]:
    """What `python train.py` writes to results.json. RuntimeError: its last line, if it fails."""
    done = subprocess.run(train_command(kit, name, *words), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    return json.loads((kit.folder / name / "results.json").read_text())


def train_command(kit: Kit, name: str, *words: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *SMALL, kit.trainer, *words, f"runs={kit.folder}", f"run={name}"]


MECHANISMS = {
    "fp16_scaler": ["trainer.precision=16-mixed"],
    "fp16_scaler_and_clipping": ["trainer.precision=16-mixed", "recipe.grad_clip=1"],
    "lamb": MODERN,
    "adamw": "recipe.optimizer=adamw recipe.lr=0.001 recipe.beta2=0.999 recipe.eps=1e-8 recipe.nesterov=false".split(),
    "rmsproptf": "recipe.optimizer=rmsproptf recipe.lr=0.001 recipe.beta2=0.9 recipe.eps=0.001".split(),
    "ema_and_precise_bn": ["recipe.ema=0.9", "recipe.precise_bn=128"],
    "ddp": ["trainer=ddp", "trainer.devices=1"],
    "compile": ["trainer.compile=true"],
}


def works(kit: Kit) -> Iterator[Row]:
    """Some steps of each mechanism, by the command line: whether the loss stays finite."""

    def check(name: str) -> list[Row]:
        return list(tried(name, partial(steps_of, kit, name)))

    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        for rows in pool.map(check, MECHANISMS):
            yield from rows


def steps_of(kit: Kit, name: str) -> Iterator[Row]:
    if kit.device == "cpu" and name.startswith("fp16"):
        yield Row(name, note="needs a GPU")
        return
    on_a_cpu = ["trainer.accelerator=cpu"] if name == "ddp" and kit.device == "cpu" else []
    found = train(kit, name, "recipe=resnet_cifar", *MECHANISMS[name], *on_a_cpu)
    loss = found["train_loss"]
    yield Row(name, loss, "loss", f"{found['steps']} steps, {found['precision']}", failed=not math.isfinite(loss))


def resume(kit: Kit) -> Iterator[Row]:
    """A run that is killed within an epoch and continued, beside one that is left alone, with deterministic=true; on a
    GPU in a CUDA graph, and beside one that is not."""
    words = [*MODERN, "recipe.precise_bn=128", "trainer.deterministic=true", "trainer.checkpoint_steps=1"]
    runs = {"whole": words}
    if kit.device == "cuda":
        runs = {"whole": [*words, "trainer.graph=true"], "eager": [*words, "trainer.graph=false"]}
    last, saves = kit.folder / "killed" / "checkpoints" / LAST, set[int]()
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(train, kit, name, *chosen) for name, chosen in runs.items()]
        killed = subprocess.Popen(train_command(kit, "killed", *runs["whole"]), stdout=subprocess.DEVNULL)
        while len(saves) < 3 and killed.poll() is None:
            saves |= {last.stat().st_mtime_ns} if last.exists() else set()
            time.sleep(0.002)
        killed.kill()
        killed.wait()
        for other in others:
            other.result()
    finished = (kit.folder / "killed" / "results.json").exists()
    yield Row("killed", read(last)["global_step"], "steps done", "it had finished" * finished, failed=finished)
    train(kit, "killed", *runs["whole"])
    yield from (difference(kit, name) for name in ("killed", "eager")[: len(runs)])


def difference(kit: Kit, name: str) -> Row:
    """How many tensors of a run's last checkpoint are not bit for bit those of the run "whole"."""
    one, other = (tensors(read(kit.folder / run / "checkpoints" / LAST)) for run in ("whole", name))
    differ = [key for key in one if key not in other or not torch.equal(one[key], other[key])]
    return Row(f"{name}: tensors that differ", len(differ), f"of {len(one)}", ", ".join(differ[:3]), bool(differ))


def tensors(checkpoint: Any) -> dict[str, Tensor]:
    """All tensors of a checkpoint, by where they are in it."""
    leaves, _ = tree_flatten_with_path(checkpoint)
    return {keystr(path): leaf for path, leaf in leaves if isinstance(leaf, Tensor)}
