"""Draw a chart of docs/results.md, docs/results/NAME.svg, from the values of NAME.csv: python -m docs.charts NAME

python -m docs.charts NAME runs/SWEEP ...     write these values first, of the finished jobs of sweeps

NAME is plain (of experiment=plain_networks), scaling (of experiment=scaling_dimensions), or short_budget.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lineage.analysis import charts
from lineage.files import read_json, write_csv
from lineage.running.directory import read_config

RESULTS = Path(__file__).parent / "results"
CHARTS = {  # columns of NAME.csv: what a line is of, its horizontal axis, the accuracies; beside them there is the seed
    "plain": ("depth shortcut", "epoch", "train_top1 val_top1"),
    "scaling": ("alpha beta gamma", "macs", "test_top1"),
    "short_budget": ("recipe", "epoch", "val_top1"),
}
TITLES = {"train_top1": "training error, %", "val_top1": "validation error, %", "test_top1": "test error, %"}


def collect(name: str, sweeps: Sequence[str]) -> None:
    """Write NAME.csv, whose rows are epochs or jobs."""
    rows, columns = list[dict[str, Any]](), ("seed " + " ".join(CHARTS[name])).split()
    for folder in sorted(file.parent for sweep in sweeps for file in Path(sweep).glob("*/results.json")):
        job = {**read_config(folder / "config.yaml").arch, **read_json(folder / "results.json")}
        with open(folder / "metrics.csv") as file:
            parts = list(csv.DictReader(file)) if "epoch" in columns else [{}]
        rows += [{column: (job | part)[column] for column in columns} for part in parts]
    write_csv(RESULTS / f"{name}.csv", columns, rows)


def line(row: Mapping[str, str]) -> str:
    """What a value is of: a recipe, a plain or residual network, or a way to scale; nothing if it is not scaled."""
    if "recipe" in row:
        return row["recipe"]
    if "shortcut" in row:
        return f"{'plain' if row['shortcut'] == 'none' else 'ResNet'}-{row['depth']}"
    ways = {"alpha": "depth", "beta": "width", "gamma": "resolution"}
    grown = [way for key, way in ways.items() if float(row[key]) != 1]
    return "all three" if len(grown) > 1 else "".join(grown)


def draw(name: str, rows: Sequence[Mapping[str, str]]) -> Figure:
    """Errors: a line through the means over seeds, in a band from the lowest to the highest."""
    _, x, accuracies = CHARTS[name]
    figure = Figure(figsize=(12.8, 5.6))
    panels = figure.subplots(1, len(accuracies.split()), squeeze=False, sharey=True)[0]
    for axes, accuracy in zip(panels, accuracies.split(), strict=True):
        found: dict[str, dict[float, list[float]]] = {}
        for row in filter(lambda row: row[accuracy], rows):  # an epoch may have no validation
            found.setdefault(line(row), {}).setdefault(float(row[x]), []).append(100 - 100 * float(row[accuracy]))
        start = found.pop("", {})
        for label, points in sorted(found.items()):
            places, values = zip(*sorted((start | points).items()), strict=True)
            axes.plot(places, list(map(fmean, values)), label=label)
            axes.fill_between(places, list(map(min, values)), list(map(max, values)), alpha=0.25, linewidth=0)
        axes.set(title=TITLES[accuracy], xlabel={"macs": "multiply-adds of an image"}.get(x, x))
        axes.xaxis.set_major_formatter(EngFormatter(sep="\u202f"))
        axes.grid(axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


if __name__ == "__main__":
    if not CHARTS.keys() & set(sys.argv[1:2]):
        sys.exit(f"python -m docs.charts NAME [SWEEP ...], of these names: {', '.join(CHARTS)}")
    name, *sweeps = sys.argv[1:]
    if sweeps:
        collect(name, sweeps)
    with open(RESULTS / f"{name}.csv") as file:
        charts.save(draw(name, list(csv.DictReader(file))), picture := RESULTS / f"{name}.svg")
    print(picture)
