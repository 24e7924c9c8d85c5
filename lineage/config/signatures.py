"""The arguments of a `_target_`, read from its source: a wrong one is refused before torch, or anything, is imported.

They are those that a class or function names, and those of the base class that a constructor's `**options` go to. What
cannot be read, or goes elsewhere, is not refused.
"""

import ast
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from typing import Any

from lineage.config.sources import Import, Module, dotted, find, folder_of

Ancestors = Iterator[tuple[Module, ast.ClassDef] | None]  # None: one that cannot be read
NO_ARGUMENTS = ("object", "ABC", "Generic", "Protocol")  # bases
KEEP_ARGUMENTS = {"override", "checked"}  # decorators; any other may take other arguments
MODULES = ("typing", "collections", "pathlib")  # only names imported from these have the meanings below
TYPES = {kind.__name__: kind for kind in (list, tuple, bool, int, float, str, dict)}


@dataclass(frozen=True)
class Argument:
    """One argument: its annotation, the file that has it, and the docstring of its class or function."""

    node: ast.expr | None
    module: Module
    required: bool
    docstring: str = ""

    @cached_property
    def annotation(self) -> Any:
        """The type that lineage/constraints.py checks a value by; Any for what is not understood."""
        return Any if self.node is None else _evaluate(self.node, self.module)

    def text(self, name: str) -> str:
        """What the docstring says of this argument, from a line "name: ..." or "other, name: ..."; "" if nothing."""
        names = r"(?:\w+, )*{}(?:, \w+)*: "
        line = rf"^ *{names.format(name)}(.+(?:\n +(?!{names.format('[a-z_]+')})\S.*)*)"
        found = re.search(line, self.docstring, re.MULTILINE)
        return " ".join(found[1].split()) if found else ""


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
    match find(folder_of(parts[0]), parts):
        case (module, ast.ClassDef() as node):
            return _class_signature(_ancestors(module, node))
        case (module, ast.FunctionDef() as node):
            return _function_signature(module, node, 0)
    return None


# ---- classes


def _ancestors(module: Module, node: ast.ClassDef) -> Ancestors:
    """A class and its bases, read one by one. One that has several bases ends the line: their order is not followed."""
    yield module, node
    bases = [dotted(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
    bases = [base for base in bases if base[-1:] not in {(name,) for name in NO_ARGUMENTS}]
    match module.find(bases[0]) if len(bases) == 1 else None:
        case (source, ast.ClassDef() as base):
            yield from _ancestors(source, base)
        case _ if bases:
            yield None


def _class_signature(ancestors: Ancestors) -> Signature | None:
    """The signature of the first `__init__`; None if something else may make an instance."""
    for ancestor in ancestors:
        if ancestor is None:
            return None
        module, node = ancestor
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        if "__init__" in methods:
            docstring = ast.get_docstring(node) or ""
            return _function_signature(module, methods["__init__"], 1, ancestors, docstring)
        if "__new__" in methods or node.decorator_list:
            return None
    return Signature({}, open=False)


def _decorators(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    names = [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return [name[-1] if name else "" for name in names]


# ---- functions


def _function_signature(
    module: Module, node: ast.FunctionDef, bound: int, ancestors: Ancestors | None = None, docstring: str = ""
) -> Signature:
    """The arguments that a function names, and those that the options of a constructor hand to the base class.

    Args:
        bound: the number of first arguments that a call does not give: self.
        ancestors: the bases of a constructor's class.
        docstring: of that class.
    """
    parameters, docstring = node.args, docstring or ast.get_docstring(node) or ""
    positional = [*parameters.posonlyargs, *parameters.args]
    defaults = [None] * (len(positional) - len(parameters.defaults)) + parameters.defaults + parameters.kw_defaults
    named = zip([*positional, *parameters.kwonlyargs], defaults, strict=True)
    own = {
        a.arg: Argument(a.annotation, module, default is None, docstring) for a, default in islice(named, bound, None)
    }
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


# ---- annotations: types, of which nothing is imported


class Names(dict[str, Any]):
    """What names mean in a file, of which nothing is imported: Python's types, and the file's own names for types. Any
    stands for another one."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def __missing__(self, name: str) -> Any:
        bound = self.module.names.get(name)
        if isinstance(bound, Import) and bound.parts[0] in MODULES and not bound.level:
            return pkgutil.resolve_name(".".join(bound.parts))
        match self.module.find((name,)):
            case (source, ast.expr() as meaning):
                return _evaluate(meaning, source)
        return TYPES.get(name, Any) if bound is None else Any


def _evaluate(annotation: ast.expr, module: Module) -> Any:
    """The type that an annotation means in its file."""
    try:
        return eval(ast.unparse(annotation), {"__builtins__": {}}, Names(module))
    except Exception:  # an annotation may be any expression
        return Any
