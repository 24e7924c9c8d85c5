"""Which tensor of torchvision's or timm's networks is which of ours, by the tables of names.yaml."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

Row = tuple[re.Pattern[str], str]  # our names of a module, and the library's


@cache
def tables(library: str) -> list[list[Row]]:
    """The library's tables in names.yaml."""
    families = yaml.safe_load(Path(__file__).with_name("names.yaml").read_text())[library].values()
    return [[(_pattern(ours), theirs) for ours, theirs in _rows(family)] for family in families]


def _rows(table: Mapping[str, Any], ours: str = "", theirs: str = "") -> Iterator[tuple[str, str]]:
    """The rows of a table by module, one for each convolution and normalisation; `ours`, `theirs`: what is before."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            our_part, their_part = name.split(" -> ")
            yield from _rows(value, f"{ours}{our_part}.", f"{theirs}{their_part}.")
            continue
        module, _, norm = f"{theirs}{value}".partition("|")
        yield f"{ours}{name}.conv" if norm else f"{ours}{name}", module
        if norm:
            yield f"{ours}{name}.norm", module[: module.rfind(".") + 1] + norm


def their_names(tensors: Mapping[str, Tensor], library: str) -> dict[str, str] | None:
    """The library's name for each of our tensors, by the first table with rows for all modules; None if none has.

    The name may be followed by a space and a kernel ("head.fc.weight 1x1"): theirs is a convolution, ours a linear
    layer.

    Args:
        tensors: of one network, by name.
        library: "torchvision" or "timm".
    """
    modules = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    numbered = number_vgg_layers(modules)
    for rows in tables(library):
        found = {module: _their_module(numbered[module], rows) for module in modules}
        if all(found.values()):
            return {name: _with_parameter(str(found[name.rpartition(".")[0]]), name) for name in tensors}
    return None


def number_vgg_layers(modules: Iterable[str]) -> dict[str, str]:
    """Names `flat.{i}` for the layers of a VGG, by our names; the modules of other networks keep their names.

    torchvision counts all layers of a VGG through. Our stages end with a ReLU and a pooling, which have no weights but
    count there: "stages.0.0" of VGG-11 is flat.3, after the stem's convolution, its ReLU and its pooling.
    """
    names = {module: module for module in modules}
    if not names.keys() >= {"head.2", "head.5", "head.8"}:
        return names
    start, last, stage = 0, 0, "stem"
    for module in names:
        if match := re.fullmatch(r"(stem|stages\.\d+)\.(\d+)", module):
            start += last + 3 if match[1] != stage else 0  # the last layer with weights, its ReLU, the pooling
            stage, last = match[1], int(match[2])
            names[module] = f"flat.{start + last}"
    return names


def _pattern(ours: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(ours)))


def _their_module(module: str, rows: Iterable[Row]) -> str | None:
    for pattern, theirs in rows:
        if numbers := pattern.fullmatch(module):
            return re.sub(r"\{(\w)([+-]\d+)?\}", lambda m: str(int(numbers[m[1]]) + int(m[2] or 0)), theirs)
    return None


def _with_parameter(theirs: str, name: str) -> str:
    """The tensor in a module of theirs: ("head.fc 1x1", our "head.linear.weight") -> "head.fc.weight 1x1"."""
    module, _, kernel = theirs.partition(" ")
    parameter = name.rpartition(".")[2]
    return f"{module}.{parameter} {kernel}" if kernel and parameter == "weight" else f"{module}.{parameter}"
