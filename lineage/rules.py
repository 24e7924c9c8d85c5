"""Rules between several values, as a table in YAML: a condition, and the sentence about values that meet it.

    - if: swa > epochs
      say: "swa={swa}: more epochs than recipe.epochs={epochs}."

A condition is an expression of Python's in the names of the values. {name} in a sentence is a value as YAML writes it.
"""

import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

from lineage.text import as_yaml

FUNCTIONS = {"__builtins__": {}, "bool": bool, "len": len, "set": set, "sorted": sorted}


def broken_rule(file: Path, values: Mapping[str, Any]) -> str | None:
    """The sentence of the first rule of a file whose condition these values meet; None if they meet none."""
    for condition, sentence in rules(file):
        if eval(condition, FUNCTIONS, values):
            return Sentence().vformat(sentence, (), values)
    return None


@cache
def rules(file: Path) -> list[tuple[CodeType, str]]:
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [(compile(row["if"], f"{file.name}: {row['say']}", "eval"), row["say"]) for row in rows]


class Sentence(string.Formatter):
    """Formats values as YAML writes them."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return as_yaml(value)
