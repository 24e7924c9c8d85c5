"""What a dotted name means, read from source: it is followed through files and imports, and nothing is imported."""

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
NOT_READ = {"torch", *sys.stdlib_module_names}  # long files, and nothing in them that a config builds
Found = tuple["Module", ast.AST]  # a class, function or value, and the file that has it


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


def find(folder: Path | None, parts: tuple[str, ...]) -> Found | None:
    """What a dotted name below a folder means; None if no source says."""
    file, names = walk(folder, parts)
    return parse(file).find(names) if file else None


def defined_in(target: str) -> Path | None:
    """The file whose top level defines the target, by class or def; None where it is imported, or is in no file."""
    parts = tuple(target.split("."))
    file, names = walk(folder_of(parts[0]), parts)
    definition = parse(file).names.get(names[0]) if file and len(names) == 1 else None
    return file if isinstance(definition, ast.ClassDef | ast.FunctionDef) else None


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
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            yield name, statement
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            yield name, value
        case ast.Import(names=aliases):
            for alias in aliases:
                parts = tuple(alias.name.split("."))
                yield alias.asname or parts[0], Import(parts if alias.asname else parts[:1], 0)
        case ast.ImportFrom(module=source, names=aliases, level=level):
            for alias in aliases:
                yield alias.asname or alias.name, Import((*(source.split(".") if source else ()), alias.name), level)
        case ast.If() | ast.Try() | ast.ExceptHandler():
            for child in reversed(list(ast.iter_child_nodes(statement))):
                yield from bindings(child)
