"""The arguments of a `_target_`, read from its source: a wrong one is refused before torch, or anything, is imported.

They are those that a class or function names, and those that its `**options` lead to. What cannot be read, or is not
understood, is not refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

from lineage.config.sources import Found, Module, dotted, find, folder_of

Ancestors = Iterator[tuple[Module, ast.ClassDef] | None]  # None: one that cannot be read
NO_ARGUMENTS = ("object", "ABC", "Generic", "Protocol")  # bases


@dataclass(frozen=True)
class Argument:
    """What one argument may be; the names in its annotation have their meaning in `module`."""

    name: str
    annotation: ast.expr | None
    required: bool
    module: Module


@dataclass(frozen=True)
class Signature:
    """The arguments by name; the first `positional` may be given by place; `open` if there may be others."""

    arguments: dict[str, Argument]
    open: bool
    positional: int = 0


def arguments(target: str) -> Signature | None:
    """The arguments of a class or function by its dotted name, "lineage.archs.resnet.ResNet".

    Returns:
        None where they cannot be known: no such name, no source (C code), a base class out of sight.
    """
    parts = tuple(target.split("."))
    try:
        return _signature(find(folder_of(parts[0]), parts))
    except RecursionError:  # a function that hands its options to itself; names that stand for each other
        return None


def _signature(found: Found | None) -> Signature | None:
    match found:
        case (module, ast.ClassDef() as node):
            return _of_class(_ancestors(module, node))
        case (module, ast.FunctionDef() as node):
            return _of_function(module, node, iter(()), bound=0)
    return None


# ---- of a class


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


def _of_class(ancestors: Ancestors) -> Signature | None:
    """The signature of the first `__init__` or dataclass; None if something else may make it."""
    for ancestor in ancestors:
        if ancestor is None:
            return None
        module, node = ancestor
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        if "__init__" in methods:
            return _of_function(module, methods["__init__"], ancestors, bound=1)
        if "dataclass" in _decorators(node):
            return _of_dataclass([ancestor, *ancestors])
        if "__new__" in methods or node.decorator_list:
            return None
    return Signature({}, open=False)


def _decorators(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    names = [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return [name[-1] if name else "" for name in names]


def _of_dataclass(ancestors: list[tuple[Module, ast.ClassDef] | None]) -> Signature:
    own = {}
    for module, node in reversed([one for one in ancestors if one and "dataclass" in _decorators(one[1])]):
        for field in node.body:
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            kind, value = ast.unparse(field.annotation), ast.unparse(field.value) if field.value else ""
            if "ClassVar" not in kind and "KW_ONLY" not in kind and "init=False" not in value:
                required = not value or "field(" in value and "default" not in value
                own[field.target.id] = Argument(field.target.id, field.annotation, required, module)
    return Signature(own, None in ancestors, len(own))


# ---- of a function


def _of_function(module: Module, node: ast.FunctionDef, ancestors: Ancestors, bound: int) -> Signature:
    """The arguments that a function names, and those that its `**options` lead to.

    Args:
        ancestors: where super() looks, of a method.
        bound: the number of first arguments that a call does not give: self.
    """
    told = node.args
    positional = [*told.posonlyargs, *told.args]
    defaults = [None] * (len(positional) - len(told.defaults)) + told.defaults + told.kw_defaults
    named = zip([*positional, *told.kwonlyargs], defaults, strict=True)
    own = {a.arg: Argument(a.arg, a.annotation, default is None, module) for a, default in islice(named, bound, None)}
    changed = any(name != "override" for name in _decorators(node))  # a decorator may take other arguments
    places = len(positional) - bound
    if told.kwarg is None:
        return Signature(own, changed, places)
    options = (told.kwarg.arg,)
    above = cache(lambda: _of_class(ancestors))  # an iterator is read once
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    calls = [call for call in calls if any(k.arg is None and dotted(k.value) == options for k in call.keywords)]
    handed = [_left(call, _callee(module, node, call, above)) for call in calls]
    uses = sum(dotted(name) == options for name in ast.walk(node))
    if not handed or uses > len(handed):  # they lead nowhere, or are read in another way too
        handed.append(Signature({}, open=True))
    every = {**own, **_union(handed), **own}  # its own go first, and before others of the same name
    return Signature(every, changed or any(signature.open for signature in handed), places)


def _callee(
    module: Module, node: ast.FunctionDef, call: ast.Call, above: Callable[[], Signature | None]
) -> Signature | None:
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=node.name):
            return above()
    name = dotted(call.func)
    local = {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
    return None if name[:1] and name[0] in local else _signature(module.find(name))


def _left(call: ast.Call, callee: Signature | None) -> Signature:
    """The arguments of what is called that the call leaves to the options."""
    if callee is None:
        return Signature({}, open=True)
    several = any(isinstance(value, ast.Starred) for value in call.args)
    unsure = several or sum(keyword.arg is None for keyword in call.keywords) > 1  # *values, **others may give them
    given = {keyword.arg for keyword in call.keywords}
    given |= set(islice(callee.arguments, 0 if several else min(len(call.args), callee.positional)))
    left = {name: argument for name, argument in callee.arguments.items() if name not in given}
    if unsure:
        left = {name: replace(argument, required=False) for name, argument in left.items()}
    return Signature(left, callee.open)


def _union(signatures: list[Signature]) -> dict[str, Argument]:
    """The arguments of several calls; required where every call requires it."""
    union: dict[str, Argument] = {}
    for name, argument in (item for one in signatures for item in one.arguments.items()):
        every = all(name in one.arguments and one.arguments[name].required for one in signatures)
        union.setdefault(name, replace(argument, required=every))
    return union
