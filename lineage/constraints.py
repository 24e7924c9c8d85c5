"""Constraints of values, stated by types: `Annotated[int, "x >= 1"]`, with a condition in x, or `Literal["a", "b"]`.

The keys of a recipe and the arguments of constructors are annotated in this one language. An annotation or a condition
that is not understood refuses nothing.
"""

import ast
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, islice
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import CodeType, NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lineage.text import as_yaml, nearest

Function = TypeVar("Function", bound=Callable[..., Any])


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and type(value) is not bool


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and type(value) is not bool


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


# The name of each type in a sentence, and whether a value has it. OmegaConf's lists are sequences too.
LISTS = (list, tuple, Sequence, Iterable)
KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", lambda value: type(value) is bool),
    int: ("a whole number", _is_int),
    float: ("a number", _is_number),
    str: ("a word", lambda value: isinstance(value, str)),
    Path: ("a path", lambda value: isinstance(value, str | PathLike)),
    **dict.fromkeys((dict, Mapping), ("a mapping, {a: 1}", lambda value: isinstance(value, Mapping))),
    **dict.fromkeys(LISTS, ("a list, [1, 2]", _is_list)),
}

# How far a value is from an alternative. MAYBE: an integer where a string is asked for, which YAML reads from 1998;
# OTHER: of another type; NEAR: a float where an integer is asked for; OUT: of the right type, and out of range.
MAYBE, OTHER, NEAR, OUT = range(4)


class Failure(NamedTuple):
    """Why a value does not fit one alternative of an annotation: a verb, the rest of the sentence, and the choices."""

    distance: int
    verb: str
    words: str
    choices: tuple[str, ...] = ()


def problem(annotation: Any, value: Any) -> str | None:
    """What is wrong with a value, as the end of a sentence: "it takes a whole number."; None if nothing is.

    Args:
        annotation: a type, as `get_type_hints(..., include_extras=True)` returns it.
        value: plain, or OmegaConf's. A mapping with a `_target_`, which Hydra builds, may be anything.
    """
    failures = _failures(annotation, value)
    if failures and value is None:
        return "it cannot be null."
    if any(failure.distance == OUT for failure in failures):  # alternatives of other types were not meant
        failures = [failure for failure in failures if failure.distance >= NEAR]
    if not failures or any(failure.distance == MAYBE for failure in failures):
        return None
    return _sentence(failures, value)


def argument_checker(error: type[Exception], prefix: str) -> Callable[[Function], Function]:
    """A decorator: a call with an argument that its annotation does not allow raises `error`.

    Args:
        prefix: stands before the argument's name in the message: "arch." makes "arch.depth=0: it is at least 1."
    """

    def decorate(function: Function) -> Function:
        positional = function.__code__.co_varnames[: function.__code__.co_argcount]

        @functools.cache
        def annotations() -> dict[str, Any]:
            try:
                return get_type_hints(function, include_extras=True)
            except (NameError, TypeError):  # a name that only type checkers import
                return {}

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            for name, value in (*zip(positional, args, strict=False), *options.items()):
                wrong = problem(annotations()[name], value) if name in annotations() else None
                if wrong:
                    raise error(f"{prefix}{name}={as_yaml(value)}: {wrong}")
            return function(*args, **options)

        return cast(Function, call)

    return decorate


def _sentence(failures: list[Failure], value: Any) -> str:
    """The failures joined by "or": null comes last, no verb is repeated, and "a number" includes a whole one."""
    words = {failure.words for failure in failures}
    implied = {"null", "a whole number"} if "a number" in words else {"null"}
    kept = [failure for failure in failures if failure.words not in implied] or failures
    groups = groupby(kept, lambda failure: failure.verb)
    text = " or ".join(f"{verb} {' or '.join(failure.words for failure in same)}" for verb, same in groups)
    text += " or null" if "null" in words and len(words) > 1 else ""
    choices = [choice for failure in failures for choice in failure.choices]
    return text + ("" if text.endswith("?") else ".") + nearest(str(value), choices)


def in_words(annotation: Any) -> str:
    """What an annotation allows: "a whole number, at least 1 or null"; nothing of one that is not understood."""
    kind, parts = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (None, NoneType):
        return "null"
    if kind in (Union, UnionType):
        return " or ".join(filter(None, map(in_words, parts)))
    if kind is Literal:
        return _choice_failures(parts, object())[0].words
    if kind is Annotated:
        types = [in_words(part) for part in parts[1:] if not isinstance(part, str)]  # choices, of a word
        codes = {text: code for text in parts[1:] if isinstance(text, str) and (code := compiled(text))}
        bounds = [_in_words(text, code, None)[1] for text, code in codes.items()]
        return ", ".join([*(types or [in_words(parts[0])]), *(text.removeprefix("satisfy ") for text in bounds)])
    inner = in_words(parts[0]) if kind in LISTS and parts else ""
    return KINDS[kind][0] + (f", each {inner}" if inner else "") if kind in KINDS else ""


# ---- types


def _failures(annotation: Any, value: Any) -> list[Failure]:
    """For each alternative, why the value does not fit; empty if it fits one, or if one is not understood."""
    kind, parts = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (None, NoneType):
        return [] if value is None else [Failure(OTHER, "it takes", "null")]
    if kind in (Union, UnionType):
        every = [_failures(part, value) for part in parts]
        return [failure for failures in every for failure in failures] if all(every) else []
    if kind is Annotated:
        failures = _failures(parts[0], value)
        matches = all(failure.distance == OUT for failure in failures)  # infinity is a float, whose range says more
        return (matches and _condition_failures(parts[1:], value)) or failures
    if kind is Literal:
        return _choice_failures(parts, value)
    failures = _type_failures(kind, value)
    if failures or kind not in LISTS or not parts or isinstance(value, Mapping):
        return failures
    return _element_failures(parts, kind is tuple, value)


def _type_failures(kind: Any, value: Any) -> list[Failure]:
    if kind not in KINDS or isinstance(value, Mapping) and "_target_" in value:
        return []
    name, matches = KINDS[kind]
    infinite = isinstance(value, float) and not math.isfinite(value)
    if matches(value):
        return [Failure(OUT, "it is", "a finite number")] if infinite else []
    if kind in (str, Path) and _is_int(value):
        return [Failure(MAYBE, "it takes", name)]
    near = kind is int and isinstance(value, float) and not infinite
    return [Failure(NEAR if near else OTHER, "it takes", name)]


def _element_failures(parts: Sequence[Any], fixed: bool, value: Sequence[Any]) -> list[Failure]:
    """The failure of the first wrong element. A tuple without "..." is `fixed`: each element has its own type."""
    if not fixed or parts[-1] is ...:
        parts = [parts[0]] * len(value)
    if len(parts) != len(value):
        return [Failure(OUT, "it takes", f"a list of {len(parts)}")]
    for place, (part, element) in enumerate(zip(parts, value, strict=True), start=1):
        wrong = problem(part, element)
        if wrong:
            return [Failure(OUT, f"its element {place}, {as_yaml(element)},", wrong.removeprefix("it ").rstrip("."))]
    return []


def _choice_failures(choices: Sequence[Any], value: Any) -> list[Failure]:
    own = isinstance(value, bool | None)  # true is not "true", whereas 1998 is "1998"
    if any(as_yaml(value) == as_yaml(c) and own == isinstance(c, bool | None) for c in choices):
        return []
    words = tuple(as_yaml(choice) for choice in choices if choice != "")
    text = ("one of " if len(words) > 1 else "") + ", ".join(words) + (" or nothing" if "" in choices else "")
    return [Failure(OTHER, "it is", text, words)]


# ---- conditions

BOUNDS = re.compile(r"(?:([-+\d.e*]+) (<=?) )?x(?: ([<>]=?) ([-+\d.e*]+))?")
LOWER = {"<": "above", "<=": "at least"}  # of a number before x
UPPER = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}  # of one behind it


def _condition_failures(conditions: Sequence[Any], value: Any) -> list[Failure]:
    """The failure of the first condition, a text in x or another type, that does not hold."""
    for condition in conditions:
        if not isinstance(condition, str):
            if failures := _failures(condition, value):
                return failures
        elif (code := compiled(condition)) and not _holds(code, value):
            return [Failure(OUT, *_in_words(condition, code, value))]
    return []


@functools.cache
def compiled(text: str) -> CodeType | None:
    """A condition in x as code; None if the text is not one, or names anything but x and len."""
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
    """ "x >= 1" as "is at least 1"; any other condition as it stands, with the integers near the value that hold."""
    if bounds := BOUNDS.fullmatch(text):
        low, above, below, high = bounds.groups()
        parts = [f"{LOWER[above]} {_number(low)}"] if low else []
        parts += [f"{UPPER[below]} {_number(high)}"] if high else []
        return "it is", " and ".join(parts)
    around = sorted(range(value - 1000, value + 1001), key=lambda n: abs(n - value)) if _is_int(value) else []
    near = sorted(islice((n for n in around if _holds(condition, n)), 2))
    does = f"; {' and '.join(map(str, near))} {'do' if len(near) > 1 else 'does'}" if near else ""
    return "it must", f"satisfy {text}{does}"


def _number(text: str) -> str:
    """1000000 as 1,000,000; 2**32 as it stands."""
    return text if "*" in text else f"{float(text):,.12g}"
