"""The process of a command: what it says, what it imports, and how it ends."""

import json
import subprocess
import sys

import pytest
from doors import ROOT

IMPORTED = """
import importlib, json, sys
root, first, *commands = sys.argv[1:]
sys.path.insert(0, root)
importlib.import_module(first)
before = set(sys.modules)
from lineage.doors import main
for line in commands:
    sys.argv = ["lineage", *line.split()]
    main()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
ON_A_CPU = "runs=runs run=a trainer=cpu"
HEAVY = "pytorch_lightning torchmetrics torchvision torch._dynamo sympy scipy timm"


@pytest.mark.parametrize(
    ("first", "commands", "most", "absent"),
    [
        ("sys", ["describe output=a"], 2000, HEAVY),
        ("pytorch_lightning", [f"train {ON_A_CPU} recipe.epochs=1", f"evaluate {ON_A_CPU}"], 600, "timm torch.onnx"),
    ],
    ids=["describe", "train and evaluate"],
)
def test_a_command_imports_what_it_needs(first, commands, most, absent, tmp_path):
    line = [sys.executable, "-c", IMPORTED, str(ROOT), first, *commands]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names = set(json.loads(done.stdout.splitlines()[-1]))
    assert not names & {*absent.split(), *"matplotlib wandb sklearn pandas onnx datasets IPython".split()}
    assert 100 < len(names) < most
    assert done.stderr == ("describe: loading torch\n" if first == "sys" else "")  # torch is loaded there


LEAVES = """
import atexit, sys, types
from lineage.running.process import leave
sys.modules["torch"] = types.ModuleType("torch")
atexit.register(print, "at exit")
def command():
    leave()
command()
print("afterwards")
"""


@pytest.mark.parametrize(
    ("before", "preloaded", "goes_on"),
    [([], None, False), (["-i"], None, True), (["-m", "cProfile"], None, True), ([], "libprofile.so", True)],
)
def test_a_command_leaves_where_nothing_comes_afterwards(before, preloaded, goes_on, tmp_path):
    (tmp_path / "script.py").write_text(LEAVES)
    environment = {"PYTHONPATH": str(ROOT)} | ({"LD_PRELOAD": preloaded} if preloaded else {})
    line = [sys.executable, *before, "script.py"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, input="", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "at exit" in done.stdout and ("afterwards" in done.stdout) == goes_on
