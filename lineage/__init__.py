"""Lineage: the landmark convolutional networks under the landmark training procedures.

From Python: `lineage.train("arch=resnet18", "recipe=wrn")`, `lineage.build("resnet18")`. docs/python.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineage.archs.network import Network

__version__ = "0.2.0"

if not (Path(__file__).parent / "archs").is_dir():
    sys.exit(
        "lineage/archs is not a link here: git config core.symlinks true; git checkout -- lineage. Or pip install ."
    )


def train(*words: str) -> dict[str, Any]:
    """Train as `python train.py WORDS` does, in this process.

    Args:
        words: the command's overrides, such as "arch=resnet18", "recipe.epochs=5", "run=first".

    Returns:
        The content of the run's results.json.

    Raises:
        lineage.errors.UserError: the command is wrong, in a line or two.
    """
    from lineage.doors.train import run

    if {"-m", "--multirun"} & set(words):
        raise ValueError("A sweep is a command of a shell: lineage train -m ...")
    return run(words)


def build(name: str, *arguments: Any, **named: Any) -> Network:
    """A network by name, with weights; lineage/weights/building.py documents the arguments."""
    from lineage.weights.building import build

    return build(name, *arguments, **named)
