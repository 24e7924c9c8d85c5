"""Where the tests find data, and the config of a command line."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from doors import ROOT, Done, finished
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from runs.states import EVERYTHING, SHORT

from lineage.config import schema  # noqa: F401
from lineage.doors import main
from lineage.recipes.recipe import Recipe

CACHE = tempfile.mkdtemp(prefix="lineage-cache-")
os.environ |= {"XDG_CACHE_HOME": CACHE, "HF_HOME": f"{CACHE}/hf", "HF_HUB_OFFLINE": "1"}  # of indices and weights
torch.set_num_threads(1)  # two threads on busy cores wait for each other


def composed(*words: str, door: str = "train", **options: bool) -> DictConfig:
    """The config of a command line."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(door, list(words), **options)


composed_once = functools.cache(composed)


def recipe_of(name: str, **changes: Any) -> Recipe:
    """A recipe of conf/recipe, some of its values changed."""
    recipe: Any = OmegaConf.to_object(composed_once(f"recipe={name}").recipe)
    for key, value in changes.items():
        setattr(recipe, key, value)
    return recipe


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A folder with two finished runs, which are only read: `whole`, of EVERYTHING, and `short`, of SHORT."""
    folder = tmp_path_factory.mktemp("trained")
    for words in ((*EVERYTHING, "run=whole"), (*SHORT, "run=short")):
        finished(folder, "train", *words)
    return folder


@pytest.fixture
def checked(monkeypatch, capsys, tmp_path):
    """Open a door in this process, in an empty folder, and stop it where its words have been checked: status 77."""
    monkeypatch.chdir(tmp_path)

    def run(door: str, *words: str) -> Done:
        monkeypatch.setattr(f"lineage.doors.{door}.follow_parent", lambda: sys.exit(77), raising=False)
        monkeypatch.setattr(sys, "argv", ["lineage", *words])
        with pytest.raises(SystemExit) as end:
            main(door)
        return Done(end.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The folder of caches, empty, for a test that looks into it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_disk(tmp_path, request) -> Iterator[Path]:
    """A file system of the size that the parameter says, as root can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be made here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def real_data() -> Path:
    """The folder of real data beside the checkout, if there is one."""
    folder = Path(os.environ.get("LINEAGE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip("no real MNIST: set LINEAGE_DATA to a folder that holds MNIST/raw")
    return folder
