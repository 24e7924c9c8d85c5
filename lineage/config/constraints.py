"""What is wrong with a value, by the annotation of its argument: `Annotated[int, "x >= 1"]`, with a condition in x.

An annotation, or a condition, that is not understood refuses nothing.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import groupby, islice
from types import CodeType
from typing import Any, NamedTuple

from lineage.config.signatures import Argument
from lineage.config.sources import Import, Module, dotted
from lineage.text import as_yaml, nearest

# A word of an annotation: what it takes, and whether a value is that. OmegaConf's lists are a Sequence too.
OF_TYPES = ("typing", "collections", "pathlib")  # modules whose names are words
LISTS = ("list", "List", "tuple", "Sequence", "Iterable")
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", lambda value: type(value) is bool),
    "int": ("a whole number", lambda value: type(value) is int),
    "float": ("a number", lambda value: type(value) in (int, float)),
    "str": ("a word", lambda value: isinstance(value, str)),
    "Path": ("a path", lambda value: isinstance(value, str)),
    **dict.fromkeys(("dict", "Mapping"), ("a mapping, {a: 1}", lambda value: isinstance(value, Mapping))),
    **dict.fromkeys(LISTS, ("a list, [1, 2]", lambda value: isinstance(value, Sequence) and type(value) is not str)),
}

# How far a value is from an alternative: a whole number where a word is asked may be one (1998 in YAML); it is of
# another kind; it is a number, not a whole one; it is of that kind, and cannot be.
MAYBE, OTHER, NEAR, OUT = range(4)


class Failure(NamedTuple):
    """Why a value is not one alternative of an annotation: a verb, its words, and the words that may be meant."""

    far: int
    verb: str
    words: str
    choices: tuple[str, ...] = ()


def problem(argument: Argument, value: Any) -> str | None:
    """What is wrong with a value, as the end of a sentence: "it takes a whole number."; None if it may be.

    Args:
        value: plain or OmegaConf's. A mapping with a `_target_`, which Hydra builds, may be anything.
    """
    try:
        failures = _failures(argument.annotation, argument.module, value) if argument.annotation else []
    except RecursionError:  # names that stand for each other
        return None
    if failures and value is None:
        return "it cannot be null."
    if any(failure.far == OUT for failure in failures):  # the other kinds are not what was meant
        failures = [failure for failure in failures if failure.far >= NEAR]
    return None if not failures or any(failure.far == MAYBE for failure in failures) else _sentence(failures, value)


def _sentence(failures: list[Failure], value: Any) -> str:
    """The failures, joined by "or": null last, no verb twice, and a whole number is a number."""
    words = {failure.words for failure in failures}
    implied = {"null", "a whole number"} if "a number" in words else {"null"}
    told = [failure for failure in failures if failure.words not in implied] or failures
    groups = groupby(told, lambda failure: failure.verb)
    text = " or ".join(f"{verb} {' or '.join(failure.words for failure in same)}" for verb, same in groups)
    text += " or null" if "null" in words and len(words) > 1 else ""
    choices = [choice for failure in failures for choice in failure.choices]
    return text + ("" if text.endswith("?") else ".") + nearest(str(value), choices)


# ---- annotations


def _failures(annotation: ast.expr, module: Module, value: Any) -> list[Failure]:
    """Of each alternative, why a value is not it; nothing if it may be one, or if an alternative is not understood."""
    match annotation:
        case ast.Constant(value=None):
            return [] if value is None else [Failure(OTHER, "it takes", "null")]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _of_alternatives([left, right], module, value)
        case ast.Subscript(value=outer, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _of_subscript(_word(outer, module), parts, module, value)
    if word := _word(annotation, module):
        return _of_word(word, value)
    match module.find(dotted(annotation)):
        case (source, ast.expr() as meaning):
            return _failures(meaning, source, value)
    return []


def _word(annotation: ast.expr, module: Module) -> str:
    """The word of Python's that an annotation is ("int", "Optional"); "" if it is none."""
    parts = dotted(annotation)
    bound = module.names.get(parts[0]) if parts else None
    if isinstance(bound, Import):
        return (*bound.parts, *parts[1:])[-1] if bound.parts[0] in OF_TYPES and not bound.level else ""
    return parts[0] if len(parts) == 1 and bound is None else ""


def _of_alternatives(alternatives: list[ast.expr], module: Module, value: Any) -> list[Failure]:
    every = [_failures(alternative, module, value) for alternative in alternatives]
    return [failure for failures in every for failure in failures] if all(every) else []


def _of_subscript(word: str, parts: list[ast.expr], module: Module, value: Any) -> list[Failure]:
    match word:
        case "Optional":
            return _of_alternatives([*parts, ast.Constant(None)], module, value)
        case "Union":
            return _of_alternatives(parts, module, value)
        case "Annotated":
            return _failures(parts[0], module, value) or _of_conditions(parts[1:], value)
        case "Literal":
            return _of_choices(parts, value)
    failures = _of_word(word, value)
    if failures or word not in LISTS or isinstance(value, Mapping):
        return failures
    return _of_elements(parts, word == "tuple", module, value)


def _of_word(word: str, value: Any) -> list[Failure]:
    if word not in KINDS or isinstance(value, Mapping) and "_target_" in value:
        return []
    takes, is_one = KINDS[word]
    infinite = isinstance(value, float) and not math.isfinite(value)
    if is_one(value):
        return [Failure(OUT, "it is", "a finite number")] if infinite else []
    if word in ("str", "Path") and type(value) is int:
        return [Failure(MAYBE, "it takes", takes)]
    near = word == "int" and isinstance(value, float) and not infinite
    return [Failure(NEAR if near else OTHER, "it takes", takes)]


def _of_elements(parts: list[ast.expr], fixed: bool, module: Module, value: Sequence[Any]) -> list[Failure]:
    """Of the first element that is wrong. A tuple of no "..." is `fixed`, a kind for each element."""
    if not fixed or isinstance(parts[-1], ast.Constant):
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        return [Failure(OUT, "it takes", f"a list of {len(parts)}")]
    for place, (part, element) in enumerate(zip(parts, value, strict=True), start=1):
        wrong = problem(Argument("", part, True, module), element)
        if wrong:
            return [Failure(OUT, f"its element {place}, {as_yaml(element)},", wrong.removeprefix("it ").rstrip("."))]
    return []


def _of_choices(parts: list[ast.expr], value: Any) -> list[Failure]:
    try:
        choices = [ast.literal_eval(part) for part in parts]
    except ValueError:  # a name
        return []
    words = tuple(map(as_yaml, choices))
    own = isinstance(value, bool | None)  # true is not "true"; 1998 is "1998"
    if any(
        as_yaml(value) == word and own == isinstance(c, bool | None) for word, c in zip(words, choices, strict=True)
    ):
        return []
    return [Failure(OTHER, "it is", ("one of " if len(words) > 1 else "") + ", ".join(words), words)]


# ---- conditions

NUMBER = r"([-+\d.e*]+)"
BOUNDS = re.compile(rf"(?:{NUMBER} (<=?) )?x(?: ([<>]=?) {NUMBER})?")
IN_WORDS = {
    "x>=": "at least {1}", "<=x": "at least {0}", "x>": "above {1}", "<x": "above {0}", "x<=": "at most {1}",
    "x<": "below {1}", "<=x<=": "between {0} and {1}", "<=x<": "from {0} on, below {1}",
    "<x<=": "above {0}, up to {1}", "<x<": "above {0}, below {1}",
}  # fmt: skip


def _of_conditions(parts: list[ast.expr], value: Any) -> list[Failure]:
    for part in parts:
        text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
        condition = _condition(text)
        if condition and not _holds(condition, value):
            return [Failure(OUT, *_in_words(text, condition, value))]
    return []


@cache
def _condition(text: str) -> CodeType | None:
    """A condition in x, compiled; None of a text that is none, or that names anything but x and len."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    foreign = names - {"x", "len"} or any(isinstance(node, ast.Attribute) for node in ast.walk(tree))
    return None if foreign or "x" not in names else compile(tree, "<condition>", "eval")


def _holds(condition: CodeType, value: Any) -> bool:
    try:
        return bool(eval(condition, {"__builtins__": {}, "len": len}, {"x": value}))
    except (ArithmeticError, TypeError, ValueError):
        return False


def _in_words(text: str, condition: CodeType, value: Any) -> tuple[str, str]:
    """ "x >= 1" as "is at least 1"; else the condition, with the whole numbers near the value for which it holds."""
    bounds = BOUNDS.fullmatch(text)
    low, above, below, high = bounds.groups("") if bounds else [""] * 4
    if f"{above}x{below}" in IN_WORDS:
        return "it lies" if low and high else "it is", IN_WORDS[f"{above}x{below}"].format(low, high)
    around = sorted(range(value - 1000, value + 1001), key=lambda n: abs(n - value)) if isinstance(value, int) else []
    near = sorted(islice((n for n in around if _holds(condition, n)), 2))
    does = f"; {' and '.join(map(str, near))} {'do' if len(near) > 1 else 'does'}" if near else ""
    return "it must", f"satisfy {text}{does}"
