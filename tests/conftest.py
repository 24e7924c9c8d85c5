"""Where the tests find data, and how they run a command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from running import schema  # noqa: F401

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)  # two threads on busy cores wait for each other


def composed(*words: str) -> DictConfig:
    """The config of a command line."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(words))


def command(folder: Path, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the project in a folder of its own, with warnings as errors."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *words],
        cwd=folder,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "LINEAGE_DATA": str(folder / "data"),
            "PYTHONWARNINGS": "error::UserWarning",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def real_data() -> Path:
    """The folder of real data beside the checkout, if there is one."""
    folder = Path(os.environ.get("LINEAGE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip("no real MNIST: set LINEAGE_DATA to a folder that holds MNIST/raw")
    return folder
