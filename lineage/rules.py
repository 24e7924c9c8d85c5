"""Rules between several values, as a table in YAML: a condition, and the sentence about values that meet it.

    - if: swa > epochs
      say: "swa={swa}: more epochs than recipe.epochs={epochs}."

A condition is an expression of Python's in the names of the values and of FUNCTIONS. {name} in a sentence is a value as
YAML writes it.
"""

import re
import string
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf

from lineage.text import as_yaml

FUNCTIONS = {"__builtins__": {}, "bool": bool, "len": len, "set": set, "sorted": sorted, "fullmatch": re.fullmatch}


class Group(dict[str, Any]):
    """The values of a group as attributes; None for a key that its class lacks."""

    __getattr__ = dict.get

    @classmethod
    def of(cls, node: DictConfig) -> "Group":
        return cls(cast(dict[str, Any], OmegaConf.to_container(node, resolve=True)))


def sentences(file: Path, values: Mapping[str, Any]) -> Iterator[str]:
    """The sentences of the rules of a file whose conditions these values meet."""
    for condition, sentence in rules(file):
        if eval(condition, FUNCTIONS, values):
            yield Sentence().vformat(sentence, (), values)


def broken_rule(file: Path, values: Mapping[str, Any]) -> str | None:
    """The sentence of the first rule of a file whose condition these values meet; None if they meet none."""
    return next(sentences(file, values), None)


@cache
def rules(file: Path) -> list[tuple[CodeType, str]]:
    rows = read_table(file)
    return [(compile(row["if"], f"{file.name}: {row['say']}", "eval"), row["say"]) for row in rows]


def read_table(file: Path) -> Any:
    """A YAML of this package, by libyaml where PyYAML has it, in a tenth of the time: every command reads two."""
    return yaml.load(file.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class Sentence(string.Formatter):
    """Formats values as YAML writes them."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return as_yaml(value)
