"""The table of lineage compare: a row a network, read and written as CSV, filtered by conditions and ranked."""

import csv
import io
import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lineage.analysis.pages.run_files import RunFiles
from lineage.analysis.papers import numbers
from lineage.errors import UserError
from lineage.files import read_text, reason, write_csv
from lineage.text import nearest

Row = dict[str, Any]  # by column; one without a value is missing, or None
FACTS = "network name dataset resolution parameters macs activations file_size top1 top5 accuracy_of".split()
METHOD = "left_empty seconds max_memory passes warm_up machine threads torch python".split()
MEASURED = ("images_per_second", "memory", "reserved")  # each with _N, for batches of N images
UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
Condition = tuple[str, str, float]  # column, sign, bound


def title(network: str) -> str:
    """The name in the papers' table, or the words after arch= without the names of groups."""
    return numbers()[network][0].name if network in numbers() else re.sub(r"\b(arch|recipe)\.", "", network)


def read(file: Path) -> list[Row]:
    """The rows of a table, numbers as such; none if there is no file. Raises UserError: it is no such table."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(file))))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read ({reason(error)}).") from error
    if any(not {"network", "machine", "parameters"} <= {key for key, text in row.items() if text} for row in rows):
        raise UserError(f"{file} is no table of lineage compare, or damaged.")
    return [{key: _value(text) for key, text in row.items() if key and text} for row in rows]


def _value(text: str) -> Any:
    number = re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", text)
    return text if number is None else float(text) if number[1] or number[2] else int(text)


def write(file: Path, rows: Sequence[Row]) -> None:
    """Write the table whole. Raises UserError: it cannot be written."""
    cells = [f"{key}_{batch}" for key in MEASURED for batch in batches_of(rows)]
    filled = [cell for cell in cells if any(row.get(cell) is not None for row in rows)]
    write_csv(file, [*FACTS, *filled, *METHOD], rows)


def batches_of(rows: Sequence[Row]) -> list[int]:
    return sorted({int(key.rpartition("_")[2]) for row in rows for key in row if key.startswith("images_per_second_")})


def is_measured(row: Row, wanted: Row, batches: Sequence[int]) -> bool:
    """Whether a row was measured by the same method and has each batch, or left it empty under the same limits.

    Args:
        wanted: the command's values of some columns.
    """
    empty = re.findall(r"\d+", str(row.get("left_empty")).partition(" images")[0])
    missing = {str(batch) for batch in batches if row.get(f"images_per_second_{batch}") is None}
    differs = {key for key, value in wanted.items() if row.get(key) != value}
    return missing <= set(empty) and differs <= (set() if missing else {"seconds", "max_memory"})


def conditions(text: str | None, batch: int) -> list[Condition]:
    """The conditions of under="memory<1GB,fps>30"; memory and fps are those of batches of `batch` images.

    Raises:
        UserError: one is not understood.
    """
    columns = {name: name for name in ("parameters", "macs", "activations", "file_size", "top1", "top5")}
    columns |= {"fps": f"images_per_second_{batch}", "memory": f"memory_{batch}"}
    found = []
    for part in filter(None, (text or "").split(",")):
        match = re.fullmatch(r"\s*(\w+)\s*([<>]=?)\s*(.+)", part)
        if not match:
            raise UserError(f'under="{part}": a condition is a name, < or >, and an amount: under="memory<1GB,fps>30".')
        if match[1] not in columns:
            near = nearest(match[1], columns) or f" There is {', '.join(columns)}."
            raise UserError(f'under="{part}": there is no {match[1]}.{near}')
        found.append((columns[match[1]], match[2], amount(match[3], f'under="{part}"')))
    return found


def amount(text: str, key: str) -> float:
    """1 GB or 1G as 1e9, 75 % as 0.75. Raises UserError, about `key`: it is no amount."""
    match = re.fullmatch(r"(\d+|\d*\.\d+) ?([kmgt%]?)b?", str(text).strip().lower())
    if not match:
        raise UserError(f"{key}: an amount is a number, which k, M, G, T or % may follow: 800MB.")
    return float(match[1]) / 100 if match[2] == "%" else float(match[1]) * UNITS[match[2]]


def ranked(rows: Sequence[Row], bounds: Sequence[Condition]) -> list[Row]:
    """The networks that meet all conditions, best top-1 first, those of unknown accuracy last."""
    kept = [row for row in rows if all(SIGNS[sign](row.get(key) or float("nan"), x) for key, sign, x in bounds)]
    return sorted(kept, key=lambda row: -(row.get("top1") or 0))


def summary(rows: Sequence[Row], batch: int) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table for the screen."""

    def cell(row: Row, key: str, unit: float = 1, digits: str = ",.3g") -> str:
        return "" if row.get(key) is None else format(row[key] / unit, digits)

    head = ["top-1", "images/s", "memory, MB", "parameters, M", "multiply-adds, M", "network"]
    return head, [
        [
            cell(row, "top1", digits=".4f"), cell(row, f"images_per_second_{batch}"),
            cell(row, f"memory_{batch}", 1e6, ",.0f"), cell(row, "parameters", 1e6), cell(row, "macs", 1e6, ",.0f"),
            row["name"],
        ] for row in rows
    ]  # fmt: skip


# ---- accuracies of runs


def accuracies_of_runs(files: Sequence[RunFiles]) -> tuple[dict[str, Row], list[str]]:
    """The means of finished runs by the words of their network, and the words of their data.

    Raises:
        UserError: no run is finished, or their data differ.
    """
    groups, data = dict[str, list[dict[str, Any]]](), set[tuple[str, ...]]()
    for results in (run.results for run in files if run.results["test_top1"] is not None):
        words = results["overrides"]
        groups.setdefault(" ".join([results["arch"], *(w for w in words if w.startswith("arch."))]), []).append(results)
        of_data = (word for word in words if word.startswith("datamodule."))
        data.add((f"datamodule={results['datamodule']}", f"resolution={results['resolution']}", *of_data))
    if len(data) != 1:
        raise UserError(f"accuracy=runs: {'the runs have different data' if data else 'no run is finished'}.")
    return {network: _means(found) for network, found in groups.items()}, list(*data)


def _means(runs: Sequence[Mapping[str, Any]]) -> Row:
    values = {key: [run[f"test_{key}"] for run in runs if run[f"test_{key}"] is not None] for key in ("top1", "top5")}
    recipes = ", ".join(dict.fromkeys(str(run["recipe"]) for run in runs))
    means = {key: fmean(found) for key, found in values.items() if found}
    return {**means, "accuracy_of": f"{'a run' if len(runs) == 1 else f'{len(runs)} runs'} of {recipes}"}
