"""The page of a sweep, or of runs beside each other: means over seeds, curves, the effect of each key, and cost."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import inf
from statistics import fmean, stdev
from typing import NamedTuple
from urllib.parse import quote

import numpy
from markupsafe import Markup
from scipy.stats import binomtest

from lineage.analysis import charts, search_chart
from lineage.analysis.pages.rendering import render
from lineage.analysis.pages.run_files import RunFiles
from lineage.errors import UserError
from lineage.files import as_csv

COLUMNS = ("seed", "val_top1", "test_top1", "test_loss", "parameters", "macs", "seconds", "images_per_second")
COSTS = {"macs": "multiply-adds of an image", "seconds": "seconds of training"}
NOT_COMPARED = ("run", "runs", "seed", "datamodule.fold")
FEW = 5  # runs, up to which their answers are compared in pairs
MOST_WORDS = 20  # on an axis
LONGEST_NAME = 60  # of a run by its words


class Group(NamedTuple):
    """Runs that differ in their seed or fold alone."""

    name: str
    runs: list[RunFiles]

    def values(self, key: str) -> list[float]:
        return [run.results[key] for run in self.runs if run.results[key] is not None]

    def mean(self, key: str) -> float:
        return fmean(self.values(key) or [float("nan")])

    def spread(self, key: str) -> float:
        """The deviation of a sample; 0 of a single value."""
        return stdev(self.values(key)) if len(self.values(key)) > 1 else 0.0

    def curve(self, metric: str) -> dict[float, list[float]]:
        """The values of all runs by epoch."""
        points: dict[float, list[float]] = {}
        for run in self.runs:
            for epoch, values in run.curve(metric).items():
                points.setdefault(epoch, []).extend(values)
        return points


def comparison_page(files: Sequence[RunFiles], title: str, searches: Mapping[str, Sequence[RunFiles]] = {}) -> str:
    """The text of the page.

    Args:
        searches: by name, those runs that a search has tried, in its order.

    Raises:
        UserError: a file is damaged, or no run is finished.
    """
    done = [run for run in files if run.results["test_top1"] is not None]
    if not done:
        raise UserError(f"{title}: none of these runs is finished.")
    by = "val_top1" if all(run.results["val_top1"] is not None for run in done) else "test_top1"
    done.sort(key=lambda run: -run.results[by])
    keys = [key for key in dict.fromkeys(key for run in done for key in run.settings) if key not in NOT_COMPARED]
    varied = [key for key in keys if len({run.settings.get(key) for run in done}) > 1]
    groups = _groups(done, varied, by)
    return render(
        "comparison.html", title=title, groups=groups, by=by, done=done, varied=varied, table=_csv(done, varied),
        unfinished=[run.name for run in files if run not in done],
        course=_course(searches), curves=_curves(groups[: charts.MOST]),
        effects=[_effect(key, done, by) for key in varied if len(done) > 2 and _has_effects(key, done)],
        costs=[_cost(groups, key, by) for key in COSTS if len({group.mean(key) for group in groups}) > 1],
        pairs=_pairs(done) if len(done) <= FEW else [],
    )  # fmt: skip


def _groups(done: list[RunFiles], varied: list[str], by: str) -> list[Group]:
    """The runs by what varies, best mean first."""
    found: dict[str, list[RunFiles]] = {}
    for run in done:
        words = [f"{key.rpartition('.')[2]}={run.settings[key]}" for key in varied if key in run.settings]
        found.setdefault(" ".join(words) or "all", []).append(run)
    if len(found) == len(done) and (len(done) <= FEW or max(map(len, found)) > LONGEST_NAME):
        found = {run.name: [run] for run in done}
    return sorted(map(Group._make, found.items()), key=lambda group: -group.mean(by))


def _course(searches: Mapping[str, Sequence[RunFiles]]) -> Markup | None:
    tried = {name: [run.results["val_top1"] for run in runs] for name, runs in list(searches.items())[: charts.MOST]}
    known = {name: found for name, values in tried.items() if (found := [top1 for top1 in values if top1 is not None])}
    best = ", ".join(f"{name}: {max(values):.4f} of {len(values)}" for name, values in known.items())
    title = "top-1 of validation, the best so far"
    return charts.inline(search_chart.course(known, title), f"{title}: {best}") if known else None


def _curves(groups: Sequence[Group]) -> list[Markup]:
    found = []
    for metric, title in (("val_top1", "top-1 of validation"), ("val_loss", "loss of validation")):
        if series := {group.name: points for group in groups if (points := group.curve(metric))}:
            text = f"{title} by epoch: mean of the seeds, lowest and highest"
            found.append(charts.inline(charts.curves(series, title), text))
    return found


def _has_effects(key: str, done: list[RunFiles]) -> bool:
    """Whether a key has numbers, or few enough words, to stand on an axis: cells of a search are a word each."""
    values = {run.settings.get(key, "default") for run in done}
    return len(values) <= MOST_WORDS or all(charts.order(value)[0] < inf for value in values)


def _effect(key: str, done: list[RunFiles], by: str) -> Markup:
    """Accuracy by the values of a key, whatever the others are."""
    points: dict[str, list[float]] = {}
    for run in done:
        points.setdefault(run.settings.get(key, "default"), []).append(run.results[by])
    means = ", ".join(f"{value}: {fmean(values):.4f}" for value, values in points.items())
    return charts.inline(charts.effect(points, key), f"top-1 by {key}, on average {means}")


def _cost(groups: Sequence[Group], key: str, by: str) -> Markup:
    points = {group.name: list(zip(group.values(key), group.values(by), strict=False)) for group in groups}
    return charts.inline(charts.scatter(points, "top-1", COSTS[key]), f"top-1 by {COSTS[key]}, a point for each run")


def _pairs(done: Sequence[RunFiles]) -> list[tuple[str, int, int, int, float]]:
    """Two runs' names, how often only the first, only the second and neither is right, and how often chance alone gives
    such a difference (exact McNemar)."""
    found = []
    for one, other in combinations([run for run in done if run.records], 2):
        if numpy.array_equal(one.records[0].label, other.records[0].label):
            first, second = one.records[0].correct, other.records[0].correct
            only = int((first & ~second).sum()), int((second & ~first).sum())
            chance = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
            found.append((f"{one.name}, {other.name}", *only, int((~first & ~second).sum()), chance))
    return found


def _csv(done: Sequence[RunFiles], varied: Sequence[str]) -> Markup:
    """The address of a table of all runs within the page."""
    columns, rows = ["run", *varied, *COLUMNS], ({**run.results, **run.settings, "run": run.name} for run in done)
    text = as_csv(columns, ({name: row.get(name) for name in columns} for row in rows))
    return Markup("data:text/csv;charset=utf-8," + quote(text))
