"""benchmarks/gpu.py on the CPU, with small networks."""

import json
import subprocess
import sys

import pytest
from doors import ROOT

# What airbench94_muon.py prints of its runs; the first warms up, and it goes on for a long time.
RUNS = """
import os, time, torch
assert torch.load("cifar10/train.pt")["images"].shape[1:] == (32, 32, 3)
for run, seconds in (("warmup", 9.0), (0, 2.5), (1, 2.6), (2, 2.7)):
    print(f"|  {run}  |     7  |     0.9000  |   0.9300  |               |        {seconds:0.4f}  |")
    print(f"|        |  eval  |     0.9000  |   0.9300  |       0.9400  |        {seconds:0.4f}  |")
time.sleep(1000)
"""


def rows_of(folder, *words):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny", "cpu", "--out", "gpu.json", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((folder / "gpu.json").read_text())["parts"]
    assert all(row["what"] in done.stdout for part in parts.values() for row in part["rows"])
    return {name: {row["what"]: row["value"] for row in part["rows"]} for name, part in parts.items()}


def test_a_speedrun_beside_another_script_and_a_step_that_a_gpu_would_watch(tmp_path):
    (tmp_path / "airbench.py").write_text(RUNS)
    parts = rows_of(tmp_path, "--airbench", "airbench.py", "--only", "speedrun", "waits")
    assert parts["speedrun"]["lineage"] > 0
    assert parts["speedrun"]["airbench94_muon"] == 2.6
    assert parts["speedrun"]["airbench94_muon: top-1"] == pytest.approx(94)
    assert parts["waits"] == {"resnet_cifar: waits": None, "rsb_a2: waits": None}


@pytest.mark.parametrize(("name", "end"), [("resume", "was ended after 1 s"), ("nothing", "failed with status 1")])
def test_a_part_that_fails_or_takes_too_long(name, end, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from gpu import Kit, run_part

    part = run_part(name, Kit("cpu", tmp_path / name, tiny=True), 1 if name == "resume" else 60)
    assert part["failed"] and part["end"] == end


@pytest.mark.proofs
def test_the_other_parts_run(tmp_path):
    parts = rows_of(tmp_path, "--only", "resnet50", "rsb_a2", "files", "small", "works", "resume")
    assert parts["resume"]["killed: tensors that differ"] == 0 and all(parts.values())
