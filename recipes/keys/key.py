"""A key of a recipe: a field with a range or choices. Imports no torch.

A key without a default must stand in the YAML. A default only ever means "off".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any

from omegaconf import MISSING

from lineage.errors import UserError
from lineage.text import as_yaml


class RecipeError(UserError, ValueError):
    """A value that the procedure cannot have; the message is one line for the user."""


def key(
    default: Any = MISSING,
    *,
    low: float = 0,
    high: float | None = None,
    above: bool = False,
    below: bool = False,
    choices: Sequence[str] = (),
) -> Any:
    """A field whose values lie between `low` and `high`, or are one of `choices`.

    Args:
        above, below: whether `low` and `high` themselves are left out.
    """
    facts = {"low": low, "high": high, "above": above, "below": below, "choices": tuple(choices)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=facts)
    return field(default=default, metadata=facts)


def check_ranges(recipe: Any) -> None:
    """Raise RecipeError for the first value that lies outside its key's range, one of a list too."""
    for one in fields(recipe):
        value, facts = getattr(recipe, one.name), one.metadata
        if not facts:
            continue
        if facts["choices"] and value not in facts["choices"]:
            near = get_close_matches(str(value).lower(), facts["choices"], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            known = [choice for choice in facts["choices"] if choice]
            wanted = f"one of {', '.join(known)}" if len(known) > 1 else f"{known[0]} or nothing, recipe.{one.name}="
            raise RecipeError(f"recipe.{one.name}={value}: it is {wanted}.{hint}")
        if facts["high"] is None:
            continue
        for number in value if isinstance(value, list) else [value]:
            if not _inside(number, facts):
                raise RecipeError(f"recipe.{one.name}={as_yaml(value)}: {_range(facts)}.")


def _inside(number: float, facts: Any) -> bool:  # false for NaN
    over = number > facts["low"] if facts["above"] else number >= facts["low"]
    return over and (number < facts["high"] if facts["below"] else number <= facts["high"])


def _range(facts: Any) -> str:
    low = f"above {facts['low']:,.12g}" if facts["above"] else f"at least {facts['low']:,.12g}"
    high = f"below {facts['high']:,.12g}" if facts["below"] else f"at most {facts['high']:,.12g}"
    return f"it is {low} and {high}"
