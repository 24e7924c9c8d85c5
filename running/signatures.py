"""The arguments of a `_target_`, read from its source: a wrong one is refused before torch, or anything, is imported.

A dotted name is followed through files and imports to the class or function that it means. Its arguments, with those
that its `**options` lead to, are what a config may say. What cannot be read, or is not understood, is not refused.
"""

from __future__ import annotations

import ast
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from running.errors import nearest

ROOT = Path(__file__).parents[1]

# ---- names: from a dotted name to what it means

OF_TYPES = ("typing", "typing_extensions", "collections", "pathlib", "os", "builtins")  # their names are words of ours
NOT_READ = {"torch", *sys.stdlib_module_names}  # long files, and nothing in them that a config builds
Found = tuple["Module", ast.AST]  # a class, function or value, and the file that has it
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Import(NamedTuple):
    """What an imported name stands for: dotted parts below the folder of `level` dots (0: absolute)."""

    parts: tuple[str, ...]
    level: int


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed file: what each name at its top level, in branches of `if` and `try` too, is bound to."""

    path: Path
    names: dict[str, ast.AST | Import]

    def find(self, parts: tuple[str, ...]) -> Found | None:
        """What a dotted name means in this file; None if it is not defined in Python, or is an attribute of a class."""
        bound = self.names.get(parts[0]) if parts else None
        if isinstance(bound, Import):
            folder = self.path.parents[bound.level - 1] if bound.level else folder_of(bound.parts[0])
            return find(folder, (*bound.parts, *parts[1:]))
        if bound is not None and dotted(bound):  # another name of it
            return self.find((*dotted(bound), *parts[1:]))
        return (self, bound) if bound is not None and len(parts) == 1 else None

    def word(self, annotation: ast.expr) -> str:
        """The word of Python's that an annotation is ("int", "Optional"); "" if it is none."""
        parts = dotted(annotation)
        bound = self.names.get(parts[0]) if parts else None
        if isinstance(bound, Import):
            return (*bound.parts, *parts[1:])[-1] if bound.parts[0] in OF_TYPES and not bound.level else ""
        return parts[0] if len(parts) == 1 and bound is None else ""


def dotted(node: ast.AST) -> tuple[str, ...]:
    """The parts of `a.b.c`; none of any other expression."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return (*before, node.attr) if before else ()
    return (node.id,) if isinstance(node, ast.Name) else ()


def folder_of(package: str) -> Path | None:
    """The folder of a top-level package; None if it is not read. (Of a dotted name find_spec imports the parents.)"""
    if (ROOT / package / "__init__.py").is_file() or (ROOT / f"{package}.py").is_file():
        return ROOT
    try:
        spec = find_spec(package) if package not in NOT_READ else None
    except (ImportError, ValueError):
        return None
    if spec is None or not (spec.submodule_search_locations or spec.has_location):
        return None
    return Path([*(spec.submodule_search_locations or ()), str(spec.origin)][0]).parent


def walk(folder: Path | None, parts: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """The file that a dotted name leads to, if any, and the names, at least one, to look for in it."""
    if folder is None or not all(map(str.isidentifier, parts)):
        return None, parts
    file: Path | None = folder / "__init__.py"
    while len(parts) > 1:
        below = folder / parts[0]
        files = [path for path in (below / "__init__.py", below.with_suffix(".py")) if path.is_file()]
        if not files and not below.is_dir():
            break
        file, folder, parts = next(iter(files), None), below, parts[1:]
    return file, parts


def find(folder: Path | None, parts: tuple[str, ...]) -> Found | None:
    """What a dotted name below a folder means; None if no source says."""
    file, names = walk(folder, parts)
    return parse(file).find(names) if file else None


@cache
def parse(path: Path) -> Module:
    """The names of a file; none if it is not Python, which its import will tell."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escape sequences in other people's strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return Module(path, {})
    return Module(path, {name: bound for statement in tree.body for name, bound in bindings(statement)})


def bindings(statement: ast.AST) -> Iterator[tuple[str, ast.AST | Import]]:
    """The names that a statement binds, the last one counts: of an `if` or `try` the first branch comes last."""
    match statement:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, statement
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case ast.Import(names=aliases):
            for alias in aliases:
                parts = tuple(alias.name.split("."))
                yield (alias.asname, Import(parts, 0)) if alias.asname else (parts[0], Import(parts[:1], 0))
        case ast.ImportFrom(module=source, names=aliases, level=level):
            for alias in aliases:
                yield alias.asname or alias.name, Import((*(source.split(".") if source else ()), alias.name), level)
        case ast.If() | ast.Try() | ast.ExceptHandler():
            for child in reversed(list(ast.iter_child_nodes(statement))):
                yield from bindings(child)


def defined_in(target: str) -> Path | None:
    """The file whose top level defines the target, by class or def; None where it is imported, or is in no file."""
    parts = tuple(target.split("."))
    file, names = walk(folder_of(parts[0]), parts)
    definition = parse(file).names.get(names[0]) if file and len(names) == 1 else None
    return file if isinstance(definition, ast.ClassDef | Function) else None


# ---- arguments


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


Ancestors = Iterator[tuple[Module, ast.ClassDef] | None]  # None: one that cannot be read
NO_ARGUMENTS = ("object", "ABC", "Generic", "Protocol")  # bases


def arguments(target: str) -> Signature | None:
    """The arguments of a class or function by its dotted name, "archs.resnet.ResNet".

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
        case (module, ast.FunctionDef() | ast.AsyncFunctionDef() as node):
            return _of_function(module, node, iter(()), bound=0)
    return None


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
        methods = {method.name: method for method in node.body if isinstance(method, Function)}
        if "__init__" in methods:
            return _of_function(module, methods["__init__"], ancestors, bound=1)
        if "dataclass" in _decorators(node):
            return _of_dataclass([ancestor, *ancestors])
        if "__new__" in methods or node.decorator_list:
            return None
    return Signature({}, open=False)


def _decorators(node: ast.ClassDef | Function) -> list[str]:
    names = [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return [name[-1] if name else "" for name in names]


def _of_dataclass(ancestors: list[tuple[Module, ast.ClassDef] | None]) -> Signature:
    own = {}
    for module, node in reversed([one for one in ancestors if one and "dataclass" in _decorators(one[1])]):
        for statement in node.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=value) if _is_given(kind, value):
                    own[name] = Argument(name, kind, not _has_default(value), module)
    return Signature(own, None in ancestors, len(own))


def _is_given(annotation: ast.expr, value: ast.expr | None) -> bool:
    """Whether a field is an argument: field(init=False) and the annotations of dataclasses' own are not."""
    inner = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    left_out = isinstance(value, ast.Call) and "init=False" in ast.unparse(value)
    return not left_out and dotted(inner)[-1:] not in (("ClassVar",), ("KW_ONLY",))


def _has_default(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and dotted(value.func)[-1:] == ("field",):
        return any(keyword.arg in ("default", "default_factory") for keyword in value.keywords)
    return value is not None


def _of_function(module: Module, node: Function, ancestors: Ancestors, bound: int) -> Signature:
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
    above = cache(lambda: _of_class(ancestors))  # an iterator is read once
    handed = [_left(call, _callee(module, node, call, above)) for call in _calls_with(node, told.kwarg.arg)]
    uses = sum(dotted(name) == (told.kwarg.arg,) for name in ast.walk(node))
    if not handed or uses > len(handed):  # they lead nowhere, or are read in another way too
        handed.append(Signature({}, open=True))
    every = {**own, **_union(handed), **own}  # its own go first, and before others of the same name
    return Signature(every, changed or any(signature.open for signature in handed), places)


def _calls_with(node: Function, options: str) -> list[ast.Call]:
    """The calls that get `**options`."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    return [call for call in calls if any(k.arg is None and dotted(k.value) == (options,) for k in call.keywords)]


def _callee(module: Module, node: Function, call: ast.Call, above: Callable[[], Signature | None]) -> Signature | None:
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
    given = {keyword.arg for keyword in call.keywords}
    several = any(isinstance(value, ast.Starred) for value in call.args)
    unsure = several or sum(keyword.arg is None for keyword in call.keywords) > 1  # *values, **others may give them
    given |= set(islice(callee.arguments, 0 if several else min(len(call.args), callee.positional)))
    left = {
        name: replace(argument, required=argument.required and not unsure)
        for name, argument in callee.arguments.items()
        if name not in given
    }
    return Signature(left, callee.open)


def _union(signatures: list[Signature]) -> dict[str, Argument]:
    """The arguments of several calls; required where every call requires it."""
    union: dict[str, Argument] = {}
    for name, argument in (item for one in signatures for item in one.arguments.items()):
        every = all(name in one.arguments and one.arguments[name].required for one in signatures)
        union.setdefault(name, replace(argument, required=every))
    return union


# ---- values

# A word of an annotation: what it takes, and whether a value is that. OmegaConf's lists are a Sequence too.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "str": ("a word", lambda value: isinstance(value, str)),
    "Path": ("a path", lambda value: isinstance(value, str | os.PathLike)),
    "list": ("a list, [1, 2]", lambda value: isinstance(value, Sequence) and not isinstance(value, str)),
    "dict": ("a mapping, {a: 1}", lambda value: isinstance(value, Mapping)),
}
SAME = {
    "PathLike": "Path",
    **dict.fromkeys(("List", "tuple", "Tuple", "Sequence", "MutableSequence", "Iterable", "Collection"), "list"),
    **dict.fromkeys(("Dict", "Mapping", "MutableMapping"), "dict"),
}

# How far a value is from an alternative: a whole number where a word is asked may be one (1998 in YAML); it is of
# another kind; it is a number, not a whole one; it is of that kind, and cannot be.
MAYBE, OTHER, NEAR, OUT = range(4)

NUMBER = r"([-+\d.e*]+)"
BOUNDS = re.compile(rf"(?:{NUMBER} (<=?) )?x(?: ([<>]=?) {NUMBER})?")
IN_WORDS = {
    "x>=": "is at least {1}", "<=x": "is at least {0}", "x>": "is above {1}", "<x": "is above {0}",
    "x<=": "is at most {1}", "x<": "is below {1}",
    "<=x<=": "lies between {0} and {1}", "<=x<": "lies from {0} on, below {1}",
    "<x<=": "lies above {0}, up to {1}", "<x<": "lies above {0}, below {1}",
}  # fmt: skip
CONDITIONS_KNOW = {"len": len, "isfinite": math.isfinite}


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
        return _problem(argument.annotation, argument.module, value) if argument.annotation else None
    except RecursionError:  # names that stand for each other
        return None


def _problem(annotation: ast.expr, module: Module, value: Any) -> str | None:
    failures = _failures(annotation, module, value)
    if failures and value is None:
        return "it cannot be null."
    if any(failure.far == OUT for failure in failures):  # the other kinds are not what was meant
        failures = [failure for failure in failures if failure.far >= NEAR]
    return None if not failures or any(failure.far == MAYBE for failure in failures) else _sentence(failures, value)


def _sentence(failures: list[Failure], value: Any) -> str:
    """The failures, joined by "or": null last, no verb twice, and a whole number is a number."""
    text = verb = ""
    if any(failure.words == "a number" for failure in failures):
        failures = [failure for failure in failures if failure.words != "a whole number"]
    for failure in sorted(failures, key=lambda failure: failure.words == "null"):
        again = failure.verb == verb or (text and failure.words == "null")
        text += (" or " if text else "") + ("" if again else f"{failure.verb} ") + failure.words
        verb = failure.verb
    choices = [choice for failure in failures for choice in failure.choices]
    return text + ("" if text.endswith("?") else ".") + nearest(str(value), choices)


def _failures(annotation: ast.expr, module: Module, value: Any) -> list[Failure]:
    """Of each alternative, why a value is not it; nothing if it may be one, or if an alternative is not understood."""
    match annotation:
        case ast.Constant(value=None):
            return [] if value is None else [Failure(OTHER, "it takes", "null")]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _of_alternatives([left, right], module, value)
        case ast.Subscript(value=outer, slice=ast.Tuple(elts=parts)):
            return _of_subscript(module.word(outer), parts, module, value)
        case ast.Subscript(value=outer, slice=part):
            return _of_subscript(module.word(outer), [part], module, value)
    if word := module.word(annotation):
        return _of_word(word, value)
    match module.find(dotted(annotation)):
        case (source, ast.expr() as meaning):
            return _failures(meaning, source, value)
    return []


def _of_alternatives(alternatives: list[ast.expr], module: Module, value: Any) -> list[Failure]:
    every = [_failures(alternative, module, value) for alternative in alternatives]
    return [failure for failures in every for failure in failures] if all(every) else []


def _of_word(word: str, value: Any) -> list[Failure]:
    word = SAME.get(word, word)
    if word not in KINDS or isinstance(value, Mapping) and "_target_" in value:
        return []
    takes, is_one = KINDS[word]
    if is_one(value):
        infinite = isinstance(value, float) and not math.isfinite(value)
        return [Failure(OUT, "it is", "a finite number")] if infinite else []
    if word in ("str", "Path") and KINDS["int"][1](value):
        return [Failure(MAYBE, "it takes", takes)]
    near = word == "int" and KINDS["float"][1](value) and math.isfinite(value)
    return [Failure(NEAR if near else OTHER, "it takes", takes)]


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
    if failures or SAME.get(word, word) != "list" or isinstance(value, Mapping):
        return failures
    return _of_elements(parts, word in ("tuple", "Tuple"), module, value)


def _of_elements(parts: list[ast.expr], fixed: bool, module: Module, value: Sequence[Any]) -> list[Failure]:
    """Of the first element that is wrong. A tuple of no "..." is `fixed`, a kind for each element."""
    if not fixed or isinstance(parts[-1], ast.Constant):
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        return [Failure(OUT, "it takes", f"a list of {len(parts)}")]
    for place, (part, element) in enumerate(zip(parts, value, strict=True), start=1):
        wrong = _problem(part, module, element)
        if wrong:
            return [Failure(OUT, f"its element {place}, {_shown(element)},", wrong.removeprefix("it ").rstrip("."))]
    return []


def _of_choices(parts: list[ast.expr], value: Any) -> list[Failure]:
    try:
        choices = [ast.literal_eval(part) for part in parts]
    except ValueError:  # a name
        return []
    if any(value is c if isinstance(value, bool | None) else _is_choice(value, c) for c in choices):
        return []
    words = tuple(map(_shown, choices))
    return [Failure(OTHER, "it is", ("one of " if len(words) > 1 else "") + ", ".join(words), words)]


def _is_choice(value: Any, choice: Any) -> bool:
    return not isinstance(choice, bool | None) and str(value) == str(choice)  # 1998 is "1998"


def _shown(value: Any) -> str:
    """As YAML writes it."""
    return {None: "null", True: "true", False: "false"}[value] if isinstance(value, bool | None) else str(value)


def _of_conditions(parts: list[ast.expr], value: Any) -> list[Failure]:
    for part in parts:
        text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
        condition = _condition(text)
        if condition and not _holds(condition, value):
            verb, words = _in_words(text, condition, value).split(" ", 1)
            return [Failure(OUT, f"it {verb}", words)]
    return []


@cache
def _condition(text: str) -> CodeType | None:
    """A condition in x, compiled; None of a text that is none, or that names anything but CONDITIONS_KNOW."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    foreign = names - {"x", *CONDITIONS_KNOW} or any(isinstance(node, ast.Attribute) for node in ast.walk(tree))
    return None if foreign or "x" not in names else compile(tree, "<condition>", "eval")


def _holds(condition: CodeType, value: Any) -> bool:
    try:
        return bool(eval(condition, {"__builtins__": {}, **CONDITIONS_KNOW}, {"x": value}))
    except (ArithmeticError, TypeError, ValueError):
        return False


def _in_words(text: str, condition: CodeType, value: Any) -> str:
    """ "x >= 1" as "is at least 1"; else the condition, with the whole numbers near the value for which it holds."""
    bounds = BOUNDS.fullmatch(text)
    low, above, below, high = bounds.groups("") if bounds else [""] * 4
    if f"{above}x{below}" in IN_WORDS:
        return IN_WORDS[f"{above}x{below}"].format(low, high)
    around = sorted(range(value - 1000, value + 1001), key=lambda n: abs(n - value)) if isinstance(value, int) else []
    near = sorted(islice((n for n in around if _holds(condition, n)), 2))
    does = f"; {' and '.join(map(str, near))} {'do' if len(near) > 1 else 'does'}" if near else ""
    return f"must satisfy {text}{does}"
