"""The annotation of an argument, read from source, as the type that it stands for: nothing is imported."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

from lineage.config.sources import Import, Module, dotted

MODULES = ("typing", "collections", "pathlib")  # only names imported from these have the meanings below
LISTS: dict[str, Any] = {
    "list": list, "List": list, "tuple": tuple, "Sequence": Sequence, "Iterable": Iterable,
}  # fmt: skip
TYPES: dict[str, Any] = LISTS | {
    "bool": bool, "int": int, "float": float, "str": str, "Path": Path, "dict": dict, "Mapping": Mapping,
}  # fmt: skip


def evaluate(annotation: ast.expr | None, module: Module) -> Any:
    """The type by which lineage/constraints.py checks a value; Any for what is not understood.

    Args:
        module: the file of the annotation, which gives the names in it their meaning.
    """
    try:
        return Any if annotation is None else _evaluate(annotation, module)
    except RecursionError:  # names that are defined by each other
        return Any


def _evaluate(annotation: ast.expr, module: Module) -> Any:
    match annotation:
        case ast.Constant(value=value) if value is None or value is ...:
            return value
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_evaluate(left, module), _evaluate(right, module)]  # noqa: UP007  # computed
        case ast.Subscript(value=outer, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _subscript(_word(outer, module), parts, module)
    if word := _word(annotation, module):
        return TYPES.get(word, Any)
    match module.find(dotted(annotation)):
        case (source, ast.expr() as meaning):
            return _evaluate(meaning, source)
    return Any


def _word(annotation: ast.expr, module: Module) -> str:
    """The name of Python's that an annotation is ("int", "Optional"); "" if it is another."""
    parts = dotted(annotation)
    bound = module.names.get(parts[0]) if parts else None
    if isinstance(bound, Import):
        return (*bound.parts, *parts[1:])[-1] if bound.parts[0] in MODULES and not bound.level else ""
    return parts[0] if len(parts) == 1 and bound is None else ""


def _subscript(word: str, parts: list[ast.expr], module: Module) -> Any:
    if word == "Literal":
        try:
            return Literal[tuple(map(ast.literal_eval, parts))]
        except ValueError:  # a name
            return Any
    if word == "Annotated":
        conditions = [p.value if isinstance(p, ast.Constant) else _evaluate(p, module) for p in parts[1:]]
        return Annotated[(_evaluate(parts[0], module), *conditions)]
    inner = tuple(_evaluate(part, module) for part in parts)
    if word in ("Optional", "Union"):
        return Union[(*inner, None) if word == "Optional" else inner]  # noqa: UP007
    return LISTS[word][inner] if word in LISTS else TYPES.get(word, Any)
