"""The arguments of a `_target_`, read from its source: a wrong one is refused before torch, or anything, is imported.

They are those that a class or function names, and those of the base class that a constructor's `**options` go to. What
cannot be read, or goes elsewhere, is not refused.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from typing import Any

from lineage.config.annotations import evaluate
from lineage.config.sources import Module, dotted, find, folder_of

Ancestors = Iterator[tuple[Module, ast.ClassDef] | None]  # None: one that cannot be read
NO_ARGUMENTS = ("object", "ABC", "Generic", "Protocol")  # bases
KEEP_ARGUMENTS = {"override", "checked"}  # decorators; any other may take other arguments


@dataclass(frozen=True)
class Argument:
    """One argument: its annotation, and the file that has it."""

    node: ast.expr | None
    module: Module
    required: bool

    @cached_property
    def annotation(self) -> Any:
        """The type that lineage/constraints.py checks a value by."""
        return evaluate(self.node, self.module)


@dataclass(frozen=True)
class Signature:
    """The arguments by name; `open` if there may be others."""

    arguments: dict[str, Argument]
    open: bool


@cache
def arguments(target: str) -> Signature | None:
    """The arguments of a class or function by its dotted name, "lineage.archs.resnet.ResNet".

    Returns:
        None where they cannot be known: no such name, no source (C code), a base class out of sight.
    """
    parts = tuple(target.split("."))
    try:
        match find(folder_of(parts[0]), parts):
            case (module, ast.ClassDef() as node):
                return _class_signature(_ancestors(module, node))
            case (module, ast.FunctionDef() as node):
                return _function_signature(module, node, 0)
    except RecursionError:  # names that are defined by each other
        pass
    return None


# ---- classes


def _ancestors(module: Module, node: ast.ClassDef) -> Ancestors:
    """A class and its bases in the order of inheritance, read one by one where there is only one base."""
    yield module, node
    bases = [dotted(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
    lines = [_named(module, base) for base in bases if base[-1:] not in {(name,) for name in NO_ARGUMENTS}]
    if len(lines) == 1:
        yield from lines[0]
    else:  # a class that is met twice comes where it is met last
        every = [ancestor for line in lines for ancestor in line]
        yield from (ancestor for i, ancestor in enumerate(every) if ancestor is None or ancestor not in every[i + 1 :])


def _named(module: Module, base: tuple[str, ...]) -> Ancestors:
    match module.find(base):
        case (source, ast.ClassDef() as node):
            yield from _ancestors(source, node)
        case _:
            yield None


def _class_signature(ancestors: Ancestors) -> Signature | None:
    """The signature of the first `__init__`; None if something else may make an instance."""
    for ancestor in ancestors:
        if ancestor is None:
            return None
        module, node = ancestor
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        if "__init__" in methods:
            return _function_signature(module, methods["__init__"], 1, ancestors)
        if "__new__" in methods or node.decorator_list:
            return None
    return Signature({}, open=False)


def _decorators(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    names = [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return [name[-1] if name else "" for name in names]


# ---- functions


def _function_signature(
    module: Module, node: ast.FunctionDef, bound: int, ancestors: Ancestors | None = None
) -> Signature:
    """The arguments that a function names, and those that the options of a constructor hand to the base class.

    Args:
        bound: the number of first arguments that a call does not give: self.
        ancestors: the bases of a constructor's class.
    """
    parameters = node.args
    positional = [*parameters.posonlyargs, *parameters.args]
    defaults = [None] * (len(positional) - len(parameters.defaults)) + parameters.defaults + parameters.kw_defaults
    named = zip([*positional, *parameters.kwonlyargs], defaults, strict=True)
    own = {a.arg: Argument(a.annotation, module, default is None) for a, default in islice(named, bound, None)}
    changed = not set(_decorators(node)) <= KEEP_ARGUMENTS
    if parameters.kwarg is None:
        return Signature(own, changed)
    above = _handed_on(node, parameters.kwarg.arg, ancestors) if ancestors else Signature({}, open=True)
    return Signature({**own, **above.arguments, **own}, changed or above.open)  # its own first, whatever the base has


def _handed_on(node: ast.FunctionDef, options: str, ancestors: Ancestors) -> Signature:
    """The arguments of the base class that `super().__init__(..., **options)` leaves to the options."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and _is_super_init(call.func)]
    expanded = [dotted(keyword.value) for call in calls for keyword in call.keywords if keyword.arg is None]
    uses = sum(dotted(name) == (options,) for name in ast.walk(node))
    above = _class_signature(ancestors)
    if above is None or len(calls) != 1 or (options,) not in expanded or uses > 1:
        return Signature({}, open=True)
    given = {keyword.arg for keyword in calls[0].keywords} | set(islice(above.arguments, len(calls[0].args)))
    sure = len(expanded) == 1  # another mapping may give what is required
    left = {name: replace(a, required=a.required and sure) for name, a in above.arguments.items() if name not in given}
    return Signature(left, above.open)


def _is_super_init(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
            return True
    return False
