"""The order of the rooms: a file imports what lies below it, never what lies above or beside."""

import ast
import graphlib
from pathlib import Path

import pytest
from doors import ROOT

FLOORS = (
    ("doors",),
    ("finding", "showing"),
    ("asking",),
    ("assemble",),
    ("config",),
    ("sweeps",),
    ("running",),
    ("reporting",),
    ("weights", "anatomy", "analysis"),
    ("archs", "datamodules", "recipes"),
    ("constraints", "rules"),
    ("files", "streams", "pillow", "plugins", "renames", "text"),
    ("errors",),
)
LEVEL = {room: len(FLOORS) - level for level, floor in enumerate(FLOORS) for room in floor}
FILES = [path for place in ("archs", "datamodules", "recipes", "lineage") for path in (ROOT / place).rglob("*.py")]
FILES = [path for path in FILES if not any(parent.is_symlink() for parent in path.parents)]


def room_of(parts: tuple[str, ...]) -> str:
    return parts[parts[0] == "lineage"] if len(parts) > 1 else ""


def imported(path: Path) -> set[str]:
    """The names of this package that a file imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("lineage.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_down(path):
    own = room_of(path.relative_to(ROOT).with_suffix("").parts)
    if own not in LEVEL:
        return  # the package's own door
    rooms = {room_of(tuple(name.split("."))) for name in imported(path)}
    above = {room for room in rooms if LEVEL.get(room, 0) >= LEVEL.get(own, 9) and room != own}
    assert not above, f"{own} imports {', '.join(above)}"


def test_no_circles():
    """No file imports, over others, itself."""
    modules = {path.relative_to(ROOT).with_suffix("").parts: path for path in FILES if path.name != "__init__.py"}
    modules = {
        ".".join(parts if parts[0] == "lineage" else ("lineage", *parts)): path for parts, path in modules.items()
    }
    graph = {
        module: {other for name in imported(path) for other in (name, name.rpartition(".")[0]) if other in modules}
        for module, path in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()
