"""Draw docs/results/scaling.svg: accuracy over multiply-adds for each way to scale a network.

python -m docs.scaling runs/SWEEP     of experiment=scaling_dimensions; the values are kept in docs/results/scaling.csv
python -m docs.scaling                draw the values of that file again
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from lineage.analysis import charts
from lineage.files import read_json
from lineage.running.directory import read_config

FILE = Path(__file__).parent / "results" / "scaling.csv"
COLUMNS = ("alpha", "beta", "gamma", "macs", "seed", "parameters", "val_top1", "test_top1")


def collect(sweep: Path) -> None:
    """Write a row for each finished job of the sweep."""
    rows = []
    for folder in (path.parent for path in sweep.glob("*/results.json")):
        known = {**read_config(folder / "config.yaml").arch, **read_json(folder / "results.json")}
        rows.append([known[column] for column in COLUMNS])
    with open(FILE, "w", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])


def way(row: Mapping[str, str]) -> str:
    grown = [name for name, key in zip(("depth", "width", "resolution"), COLUMNS, strict=False) if float(row[key]) != 1]
    return " ".join(grown) if len(grown) < 2 else "all three"


def draw() -> Figure:
    """For each way, a line over the means and a point for each seed; all begin at the network that is not scaled."""
    found: dict[str, dict[float, list[float]]] = {}
    with open(FILE) as opened:
        for row in csv.DictReader(opened):
            points = found.setdefault(way(row), {})
            points.setdefault(int(row["macs"]) / 1e6, []).append(float(row["test_top1"]))
    start, figure = found.pop(""), Figure(figsize=(12.8, 6))
    panel = figure.subplots()
    for name, points in sorted(found.items()):
        points = start | points
        (line,) = panel.plot(sorted(points), [fmean(points[macs]) for macs in sorted(points)], label=name)
        for macs, values in points.items():
            panel.plot([macs] * len(values), values, "o", color=line.get_color(), markersize=5, alpha=0.5)
    panel.set(xlabel="multiply-adds of an image, millions", title="test top-1 of a network scaled in one way")
    panel.grid(axis="y")
    panel.legend()
    return figure


if __name__ == "__main__":
    for sweep in sys.argv[1:]:
        collect(Path(sweep))
    charts.save(draw(), FILE.with_suffix(".svg"))
