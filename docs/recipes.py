"""Write docs/recipes.md, from its line MADE on, and the chart of all schedules: make docs

The values come from conf/recipe, the sources and remarks from tests/golden/recipes.csv, the prose from the headers of
the recipes.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from docs import curves, papers
from docs.papers import ROOT
from docs.procedures import DIFFERS, LAYOUT, MARKS, NAMES, NETWORKS, SETS, Cell, cells, header, is_idle, recipe
from lineage.recipes.recipe import Recipe

PAGE = ROOT / "docs" / "recipes.md"
ROWS: dict[str, str] = LAYOUT["rows"]  # of the paper's table, and our keys for them
FIELDS = {field.name: field for field in fields(Recipe)}
MORE_ROWS = {f"`{name}`": name for name in FIELDS if name not in ROWS.values()}
OFF = "–"


def page() -> str:
    """The text of docs/recipes.md."""
    headers = {name: header(name) for name in NAMES}
    return papers.page(
        PAGE, sets=SETS, rows=ROWS, more_rows=MORE_ROWS, row=row, off=OFF, remarks=remarks, headers=headers
    )


def row(names: Sequence[str], key: str) -> list[str]:
    return [cell_text(name, key) for name in names]


def cell_text(name: str, key: str) -> str:
    """The value, as the table prints it if it does, with its mark and the number of its remark."""
    cell, value = cells().get((name, key)), getattr(recipe(name), key, None)
    if key in ("steps", "top1"):
        return f"{(cell.printed or cell.value).rstrip('%')}{remark_number(cell)}" if cell else OFF
    if key in MORE_ROWS.values() and (is_off(key, value) or is_idle(name, key)):
        return OFF
    if key in ("train_res", "test_res") and value == NETWORKS and cell:
        return f"network's, {cell.value}"
    printed = cell.printed if cell else ""
    text = {"v": "✓", "x": OFF, "-": OFF}.get(printed, printed) or value_text(value)
    return f"{text}{MARKS[cell.certainty] if cell and text != OFF else ''}{remark_number(cell)}"


def value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{item:.4g}".replace("e-0", "e-") for item in value) or OFF
    if not value or value == "none":
        return OFF
    return "✓" if value is True else f"{value:.7g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def is_off(key: str, value: Any) -> bool:
    """Whether a value says that a thing is not used, or a detail of that thing."""
    return value is False or value == [] or value == FIELDS[key].default


def remarked(names: Sequence[str]) -> list[str]:
    """The remarks on a table, in the order of its rows."""
    keys = (*ROWS.values(), *MORE_ROWS.values())
    found = [cells()[name, key].note for key in keys for name in names if (name, key) in cells()]
    return list(dict.fromkeys(filter(None, found)))


def remark_number(cell: Cell | None) -> str:
    """The number of a cell's remark below its table."""
    if cell is None or not cell.note:
        return ""
    names = next(names for names in SETS.values() if cell.recipe in names)
    place = remarked(names).index(cell.note) + 1
    return f" {'≠ ' if cell.note.startswith(DIFFERS) else ''}[{place}]"


def remarks(names: Sequence[str]) -> list[str]:
    """The remarks below a table: where published code differs from it, and what else a reader should know."""
    lines = []
    for remark in remarked(names):
        about = [cell for cell in cells().values() if cell.recipe in names and cell.note == remark]
        words = [*(cell.recipe for cell in about), *(f"`{cell.key}`" for cell in about)]
        lines.append(f"{', '.join(dict.fromkeys(words))}: {remark}")
    return lines


if __name__ == "__main__":
    curves.main()
    PAGE.write_text(page())
